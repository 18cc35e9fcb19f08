// Pages of customers, rules and policies before a real gate: what they show, whom they show it to, and what their forms do.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ACCESS_FILE } from '../../../src/access/access-file.ts'
import { addOperator } from '../../../src/access/edit.ts'
import { startRunningBench, type RunningBench } from '../../cli/support.ts'
import { testClient, type TestClient } from './support.ts'

const PASSWORD = 'a long password of a test'
const AGENT = '8.8.4.3'
const EVIL = '/x?file=../../windows/win.ini'
const POLICY = `
dashboard: { address: '127.0.0.1:0' }
sites:
  acme: { name: Acme Dental, addresses: [8.8.4.0/28] }
  other: { name: Other GmbH, addresses: [8.8.4.16/28] }
`

type Lab = RunningBench & { readonly as: (operator: string) => Promise<TestClient> }

async function start(t: ExecutionContext): Promise<Lab> {
  const bench = await startRunningBench(t, POLICY)
  const file = join(bench.root, 'var', ACCESS_FILE)
  const add = (name: string, role: 'viewer' | 'support' | 'admin', sites: readonly string[] | null) =>
    addOperator(file, PASSWORD, { name, role, sites, keys: null }, bench.nowMs())
  await add('jane', 'admin', null)
  await add('vi', 'viewer', null)
  await add('limited', 'support', ['other'])
  await bench.portcullis.reload('command')
  const agent = { headers: { 'user-agent': 'LabTech Agent' } }
  for (const source of [AGENT, '8.8.4.17', '8.8.8.8']) await bench.ask(source, agent)
  for (const source of [AGENT, '8.8.4.17']) await bench.ask(source, { path: EVIL })
  await bench.ask('5.255.255.5')
  // Commands ask the gate to write down what it holds in memory.
  await bench.cli(['sites'])
  return {
    ...bench,
    as: async operator => {
      const client = testClient(bench.portcullis.dashboardEndpoint()?.port ?? 0, '')
      const { status } = await client.logIn(operator, PASSWORD)
      if (status !== 303) throw new Error(`login of ${operator}: ${status}`)
      return client
    },
  }
}

/** Asks until the page has what is worked out beside it. */
async function shown(client: TestClient, path: string, isReady: (body: string) => boolean): Promise<string> {
  for (;;) {
    const { body, status } = await client.get(path)
    if (status !== 200) throw new Error(`${path}: ${status}`)
    if (isReady(body)) return body
  }
}

const isPlanned = (body: string): boolean => !body.includes('is being made')

/** Puts in force what the page of the plan shows. */
async function agree(client: TestClient, form: Readonly<Record<string, string>> = {}) {
  const page = await shown(client, '/plan', isPlanned)
  const action = /action="(\/plan\/\d+\/apply)"/.exec(page)?.[1] ?? '/plan/0/apply'
  const got = await client.post(action, {
    form: { guard: '30m', reason: 'agreed', password: PASSWORD, ...form },
  })
  return { ...got, page, action }
}

const isDiagnosed = (body: string): boolean => !body.includes('being worked out')

test('every page shows what went through the gate, and an operator of one site sees only that one', async t => {
  const lab = await start(t)
  const jane = await lab.as('jane')
  const limited = await lab.as('limited')
  const page = async (client: TestClient, path: string): Promise<string> => {
    const got = await client.get(path)
    t.is(got.status, 200, path)
    t.is(got.headers['content-security-policy']?.includes("default-src 'none'"), true)
    return got.body
  }
  const { health } = (await lab.json(['status'])).value as { readonly health: { readonly sentence: string } }
  t.true((await page(jane, '/')).includes(health.sentence), 'the command line says the same')
  const world = await page(jane, '/world')
  t.regex(world, /US, United States: 3 admitted, 2 refused/)
  t.regex(world, /RU, Russia: 0 admitted, 1 refused/)
  t.regex(await page(limited, '/world'), /US, United States: 1 admitted, 1 refused/)
  t.false((await page(limited, '/world')).includes('Russia'))
  t.regex(await page(jane, '/world/RU'), /5\.255\.255\.5/)
  t.false((await page(limited, '/world/US')).includes(AGENT))

  const sites = await page(jane, '/sites')
  t.true(sites.includes('Acme Dental') && sites.includes('Other GmbH') && sites.includes('/sources'))
  const own = await page(limited, '/sites')
  t.false(own.includes('Acme Dental') || own.includes('/sources'))
  t.true(own.includes('Other GmbH'))

  const site = await shown(jane, '/sites/acme', isDiagnosed)
  const cli = await lab.json(['diagnose', AGENT])
  const { sentence } = cli.value['diagnosis'] as { readonly sentence: string }
  t.true(site.includes(sentence.replaceAll('"', '&quot;').replaceAll("'", '&#39;')), sentence)
  t.true(site.includes('LabTech') || site.includes('automate'))
  t.regex(site, /TLSv1\.3/)
  t.regex(await page(jane, '/sources'), /8\.8\.8\.8/)
  t.regex(await shown(jane, `/addresses/${AGENT}`, isDiagnosed), /Acme Dental/)

  const rules = await page(jane, '/rules')
  t.regex(rules, /windows-file/)
  t.regex(rules, /acme, other/)
  t.false((await page(limited, '/rules')).includes('acme'))
  const rule = await page(jane, '/rules/windows-file')
  t.regex(rule, /has: win\.ini/)
  t.true(rule.includes(AGENT) && rule.includes('8.8.4.17'))
  t.false((await page(limited, '/rules/windows-file')).includes(AGENT))
  t.regex(await page(jane, '/history'), /Version 1/)
  await page(jane, '/history/1')
  await page(jane, '/plan')

  for (const [path, status] of [
    ['/sites/acme', [403, 404]],
    ['/sites/nowhere', [403, 404]],
    ['/sources', [403]],
    [`/addresses/${AGENT}`, [404]],
    ['/addresses/5.255.255.5', [404]],
    ['/addresses/nonsense', [404]],
    ['/history', [403]],
    ['/history/1', [403]],
    ['/plan', [403]],
    ['/rules/no-such-rule', [404]],
  ] as const)
    t.true((status as readonly number[]).includes((await limited.get(path)).status), path)
  t.is((await limited.get('/addresses/8.8.4.17')).status, 200)
})

test('support allows, bans and lifts for its own sites, with a reason and an end', async t => {
  const lab = await start(t)
  const limited = await lab.as('limited')
  const form = { range: '8.8.4.17', for: '4h', class: '', reason: 'ticket 4711' }
  await limited.get('/sites/other')
  t.true(
    [403, 404].includes((await limited.post('/sites/acme/ban', { form: { ...form, range: AGENT } })).status),
  )
  for (const wrong of [
    { ...form, range: AGENT },
    { ...form, range: '0.0.0.0/0' },
    { ...form, range: '8.8.4.16/27' },
    { ...form, range: 'x' },
    { ...form, reason: ' ' },
    { ...form, reason: 'a\u202eb' },
    { ...form, for: 'ever' },
    { ...form, class: 'everything' },
  ])
    t.is((await limited.post('/sites/other/ban', { form: wrong })).status, 400, JSON.stringify(wrong))
  t.like(await lab.ask('8.8.4.17'), { status: 200 })
  t.is((await limited.post('/sites/other/ban', { form })).status, 303)
  t.true('error' in (await lab.ask('8.8.4.17')), 'banned')
  const page = await shown(limited, '/sites/other', isDiagnosed)
  t.true(page.includes('ticket 4711') && page.includes('limited'))
  t.regex(page, /8\.8\.4\.17 is banned until/)
  t.is((await limited.post('/sites/other/lift', { form: { kind: 'ban', range: AGENT } })).status, 400)
  t.is((await limited.post('/sites/other/lift', { form: { kind: 'ban', range: '8.8.4.17/32' } })).status, 303)
  t.like(await lab.ask('8.8.4.17'), { status: 200 })
  t.is((await limited.post('/sites/other/ban', { form })).status, 303)
  lab.advance(5 * 3_600_000)
  t.like(await lab.ask('8.8.4.17'), { status: 200 }, 'it has ended by itself')

  // A policy that keeps deployments closed: support opens them for a while, for its own site.
  lab.writePolicy(lab.policyText().replace('model: all-traffic', 'model: agent-only'))
  t.true((await lab.portcullis.reload('command')).ok)
  const support = await lab.as('limited')
  const installer = { path: '/labtech/service/LabTechRemoteAgent.msi' }
  t.regex((await support.get('/sites/other')).body, /New agents cannot be installed through the gate/)
  t.like(await lab.ask('8.8.4.17', installer), { status: 403 })
  const wish = { for: '2h', reason: 'forty new PCs' }
  t.is((await support.post('/sites/acme/enroll', { form: wish })).status, 403)
  t.is((await support.post('/sites/other/enroll', { form: { ...wish, for: '1y' } })).status, 400)
  t.is((await support.post('/sites/other/enroll', { form: wish })).status, 303)
  t.regex((await support.get('/sites/other')).body, /ends\s+in \w+ \w+:\s*forty new PCs/)
  t.like(await lab.ask('8.8.4.17', installer), { status: 404 }, 'it reaches the server')
  t.like(await lab.ask(AGENT, installer), { status: 403 }, 'of another site')
  const { value } = await lab.json(['enroll', 'list'])
  t.like((value['openings'] as readonly object[])[0], { site: 'other', owner: 'limited' })
  t.is((await support.post('/sites/other/enroll/close', { form: {} })).status, 303)
  t.regex((await support.get('/sites/other')).body, /New agents cannot be installed/)
  t.like(await lab.ask('8.8.4.17', installer), { status: 403 })

  const vi = await lab.as('vi')
  const seen = await vi.get('/sites/other')
  t.false(seen.body.includes('/sites/other/ban'), 'no form for a viewer')
  t.is((await vi.post('/sites/other/ban', { form })).status, 403)
})

test('a false positive becomes the narrowest exception: the client gets through, others do not, comments stay', async t => {
  const lab = await start(t)
  lab.writePolicy(`# mind the gap\n${lab.policyText()}`)
  await lab.portcullis.reload('command')
  const jane = await lab.as('jane')
  t.like(await lab.ask(AGENT, { path: EVIL }), { status: 403 })
  await lab.cli(['sites'])
  const { body } = await jane.get('/rules/windows-file')
  const row = body.split('<tr>').find(text => text.includes(AGENT) && text.includes('false-positive')) ?? ''
  const path = /href="(\/rules\/windows-file\/false-positive\/[\w%-]+)"/.exec(row)?.[1] ?? ''
  const proposal = await jane.get(path)
  t.is(proposal.status, 200, path)
  t.regex(proposal.body, /rule: windows-file/)
  t.regex(proposal.body, new RegExp(`sources: \\[${AGENT.replaceAll('.', String.raw`\.`)}\\]`))
  const limited = await lab.as('limited')
  t.true([403, 404].includes((await limited.get(path)).status), 'the hit of another site')
  const target = /action="(\/exceptions\/[\w%-]+)"/.exec(proposal.body)?.[1] ?? ''
  t.is((await limited.post(target, { form: { reason: 'mine', for: '7d' } })).status, 403)
  t.is((await jane.post(target, { form: { reason: '', for: '7d' } })).status, 400)
  t.is((await jane.post(target, { form: { reason: 'x', for: 'ever' } })).status, 400)
  t.is((await jane.post(target, { form: { reason: 'x', for: '7d', class: 'all' } })).status, 400)
  const reason = `reports "of" ours: # [x] {y} $& \\`
  const planned = await jane.post(target, { form: { reason, for: '30d' } })
  t.is(planned.status, 303, planned.body)
  t.notRegex(lab.policyText(), /windows-file/, 'it is only planned')
  const done = await agree(jane, { reason: 'false positive of windows-file' })
  t.is(done.status, 303, done.body)
  t.regex(done.page, /No active agent would be lost/)
  t.regex(done.page, /class="line added">\+ +- rule: windows-file/)
  t.regex(lab.policyText(), /^# mind the gap/)
  t.like(await lab.ask(AGENT, { path: EVIL }), { status: 404 })
  t.like(await lab.ask('8.8.4.17', { path: EVIL }), { status: 403 })
  t.like(await lab.ask(AGENT, { path: `/y${EVIL.slice(2)}` }), { status: 403 }, 'another path')
  const history = (await jane.get('/history')).body
  t.true(history.includes('false positive of windows-file') && history.includes('jane'))

  // A refusal at the door: the address is let in for what agents use, and for nothing else.
  const russia = '5.255.255.5'
  const { value } = await lab.json(['diagnose', russia])
  const [refusal] = value['refusals'] as readonly { readonly reference: string }[]
  const door = `/exceptions/${refusal?.reference}`
  t.is((await limited.get(door)).status, 404, 'the refusal of another site')
  t.regex((await jane.get(door)).body, /5\.255\.255\.5 is let in for agent/)
  t.regex((await jane.get(`/references/${refusal?.reference}`)).body, new RegExp(`href="${door}"`))
  t.is((await jane.post(door, { form: { reason: 'branch office', for: '1d', class: '' } })).status, 303)
  const admitted = await agree(jane, { reason: 'branch office' })
  t.is(admitted.status, 303, admitted.body)
  t.regex(admitted.page, /Who would be let in/)
  t.like(await lab.ask(russia), { status: 200 })
  const listed = (await jane.get('/exceptions')).body
  t.true(listed.includes('rule windows-file') && listed.includes('branch office'))
  t.is((await limited.get('/exceptions')).status, 403)
  const rule = (await jane.get('/rules/windows-file')).body
  t.true(rule.includes('reports &quot;of&quot; ours'), 'the exception is listed')
  lab.advance(3 * 86_400_000)
  t.true('error' in (await lab.ask(russia)), 'it has ended by itself')
})

test('a plan of a pasted policy says who would be lost, off the event loop; a wrong one says where', async t => {
  const lab = await start(t)
  const jane = await lab.as('jane')
  await jane.get('/plan')
  t.is((await jane.post('/plan', { form: { directory: '', policy: '' } })).status, 400)
  const deadly = lab.policyText().replace(/home:\n\s+- US/, 'home:\n  - NZ')
  t.not(deadly, lab.policyText())
  t.is((await jane.post('/plan', { form: { policy: deadly, directory: '' } })).status, 303)
  t.is((await jane.post('/plan', { form: { policy: deadly, directory: '' } })).status, 409, 'one at a time')
  const lost = await shown(jane, '/plan', isPlanned)
  t.regex(lost, /3 sources with active agents would be lost/)
  t.true(lost.includes(AGENT) && lost.includes('acme'))
  t.true(lost.includes('The loss of') && lost.includes('3 sources'))
  t.is((await agree(jane, { password: 'a guess' })).status, 403)
  t.is((await agree(jane, { accept: '3', reason: ' ' })).status, 400)
  t.is((await agree(jane, { accept: '3', guard: 'ever' })).status, 400)
  t.is((await agree(jane)).status, 400, 'the loss was not agreed to')
  t.is((await agree(jane, { accept: '2' })).status, 400)
  const stale = /action="(\/plan\/\d+\/apply)"/.exec(lost)?.[1] ?? ''
  t.is((await jane.post('/plan', { form: { policy: 'homes: [US]', directory: '' } })).status, 303)
  const wrong = await shown(jane, '/plan', isPlanned)
  t.regex(wrong, /not valid/)
  t.regex(wrong, /homes/)
  t.is((await jane.post('/plan', { form: { directory: '/nowhere/at/all', policy: '' } })).status, 303)
  t.regex(await shown(jane, '/plan', isPlanned), /not valid|could not be made/)
  const form = { guard: '30m', reason: 'x', accept: '3', password: PASSWORD }
  t.is((await jane.post(stale, { form })).status, 409, 'another plan was made since')
  t.like(await lab.ask(AGENT), { status: 200 }, 'nothing was changed')

  // Somebody else edits the file between plan and agreement: the edit is not undone.
  await jane.post('/plan', { form: { policy: deadly, directory: '' } })
  await shown(jane, '/plan', isPlanned)
  lab.writePolicy(`# theirs\n${lab.policyText()}`)
  const late = await agree(jane, { accept: '3' })
  t.is(late.status, 503)
  t.regex(late.body, /changed by somebody else/)
  t.regex(lab.policyText(), /^# theirs/)

  // Forced, it is taken back by the guard.
  await jane.post('/plan', { form: { policy: deadly, directory: '' } })
  const { id } = lab.portcullis.snapshot()
  const forced = await agree(jane, { accept: '3', reason: 'forced' })
  t.is(forced.status, 303, forced.body)
  t.regex((await jane.get('/history')).body, /the guard watches for 30 minutes/)
  t.not(lab.portcullis.snapshot().id, id)
  t.true('error' in (await lab.ask(AGENT)))
  while (lab.portcullis.snapshot().home.value.has('NZ')) await new Promise(setImmediate)
  t.like(await lab.ask(AGENT), { status: 200 })
  t.regex((await jane.get('/audit')).body, /pasted text, 3 active sources given up, the guard watches/)
})

test('an older policy comes back when its plan is agreed to, and the history says who did it', async t => {
  const lab = await start(t)
  const jane = await lab.as('jane')
  const before = lab.policyText()
  lab.writePolicy(before.replace('name: Other GmbH', 'name: Other AG'))
  await lab.portcullis.reload('command', { who: 'joe', why: 'new name' })
  const newest = (await jane.get('/history/2')).body
  t.regex(newest, /- *(?:\s)*name: Other GmbH/)
  t.true(newest.includes('name: Other AG') && newest.includes('joe') && newest.includes('new name'))
  t.false(newest.includes('/rollback'), 'it is in force')
  await jane.get('/history/1')
  t.is((await jane.post('/history/99/rollback', { form: {} })).status, 404)
  t.is((await jane.post('/history/1/rollback', { form: {} })).status, 303)
  t.regex(lab.policyText(), /Other AG/, 'it is only planned')
  const done = await agree(jane, { reason: 'wrong name' })
  t.is(done.status, 303, done.body)
  t.is(lab.policyText(), before)
  t.regex((await jane.get('/history')).body, /wrong name/)
  t.is(readFileSync(join(lab.root, 'policies/portcullis.yaml'), 'utf8'), before)
})
