// Rules that count, through a real gate: who is held, who behind the same NAT goes on, and what a reload leaves of it.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import {
  ask,
  GB,
  startWholeGate,
  US,
  type Answer,
  type PolicyParts,
  type WholeGate,
} from '../support/whole-gate.ts'

const PACK = `
pack: test-logins
rules:
  - id: login-user
    title: Wrong passwords of one user
    severity: high
    classes: [api]
    methods: [POST]
    rate: { over: 5, per: 10m, by: source+user, user: args.username, on: failure, hold: 15m }
    when: { in: path, equals: /cwa/api/v1/apitoken }
    tests:
      fires:
        - { request: POST /cwa/api/v1/apitoken, json: { UserName: ann }, times: 6, within: 1m, status: 401 }
      quiet:
        - { request: POST /cwa/api/v1/apitoken, json: { UserName: ann }, times: 5, within: 1m, status: 401 }
        - { request: POST /cwa/api/v1/apitoken, json: { UserName: ann }, times: 50, within: 1m, status: 200 }
        - { request: POST /cwa/api/v1/apitoken, json: { UserName: ann }, times: 6, within: 1h, status: 401 }
  - id: login-source
    title: Wrong passwords of one address
    severity: high
    classes: [api]
    methods: [POST]
    rate: { over: 12, per: 10m, by: source, on: failure, hold: 15m }
    when: { in: path, equals: /cwa/api/v1/apitoken }
    tests:
      fires: [{ request: POST /cwa/api/v1/apitoken, json: {}, times: 13, within: 1m, status: 403 }]
      quiet: [{ request: POST /cwa/api/v1/apitoken, json: {}, times: 12, within: 1m, status: 403 }]
  - id: page-flood
    title: One page, over and over
    severity: medium
    rate: { over: 20, per: 1m, by: source, on: request, hold: 2m }
    when: { in: path, equals: /automate/flood }
    tests:
      fires: [{ request: GET /automate/flood, times: 21, within: 10s }]
      quiet: [{ request: GET /automate/flood, times: 21, within: 2m }]
`

const OPEN: PolicyParts = {
  classes: { api: { access: 'open', countries: ['US', 'GB'] }, agent: { countries: ['US', 'GB'] } },
  sites: { office: { addresses: [GB] } },
}

/** A gate with the rules above in force. */
async function startCounting(rules: PolicyParts = {}): Promise<WholeGate> {
  const gate = await startWholeGate({ policy: OPEN })
  mkdirSync(join(gate.directory, 'policies', 'rules'), { recursive: true })
  writeFileSync(join(gate.directory, 'policies', 'rules', 'test-logins.yaml'), PACK)
  await reload(gate, { rules: { packs: ['test-logins'], ...rules } })
  return gate
}

async function reload(gate: WholeGate, parts: PolicyParts): Promise<void> {
  gate.write({ ...gate.policy, ...parts })
  const result = await gate.portcullis.reload('command')
  if (!result.ok) throw new Error(result.problems.join('\n'))
}

const login = (gate: WholeGate, user: string, password: string, from = US): Promise<Answer> =>
  ask(
    gate,
    {
      method: 'POST',
      path: '/cwa/api/v1/apitoken',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ UserName: user, Password: password }),
    },
    { from },
  )

async function othersGoOn(t: ExecutionContext, gate: WholeGate, from = US): Promise<void> {
  t.is((await login(gate, 'practice', 'practice', from)).status, 200, 'another technician')
  t.is((await ask(gate, { path: '/LabTech/Agent.aspx' }, { from })).status, 200, 'an agent')
}

test('30 failed logins of one user behind a NAT are held; agents and another technician behind it go on', async t => {
  await using gate = await startCounting()
  await othersGoOn(t, gate)
  const statuses: number[] = []
  let last: Answer | null = null
  for (let n = 0; n < 30; n++) {
    last = await login(gate, n % 2 === 0 ? 'ann' : 'ANN', `guess ${n}`)
    statuses.push(last.status)
    if (n % 10 === 9) await othersGoOn(t, gate)
  }
  t.deepEqual(statuses, [...Array<number>(5).fill(401), ...Array<number>(25).fill(429)])
  const wait = Number(last?.headers['retry-after'])
  t.true(wait > 14 * 60 && wait <= 15 * 60, `Retry-After ${wait}`)
  t.regex(last?.text ?? '', /rate-limited/)
  t.notRegex(last?.text ?? '', /ann|login-user/i)
  await othersGoOn(t, gate)
  t.is((await login(gate, 'ann', 'guess', GB)).status, 401, 'the same name from elsewhere is somebody else')

  const held = gate.lines.of('rate.held')
  t.is(held.length, 1)
  t.like(held[0], { address: US, class: 'api', whom: 'user', limit: 5, acts: true })
  t.is(held[0]?.hit.ruleId, 'login-user')
  const refused = await gate.lines.next('request.refused', entry => entry.reason === 'rate-limited')
  t.like(refused, { stage: 'rules', status: 429, class: 'api' })
  t.regex(refused.line, /test-logins\.yaml/)
  t.is(await gate.metric('portcullis_requests_refused_total', { reason: 'rate-limited' }), 25)
  t.is(gate.lines.of('gate.internal-error').length, 0)
  await gate.idle()
})

test('a hold outlives a reload that leaves its rule alone, and ends with its rule', async t => {
  await using gate = await startCounting()
  for (let n = 0; n < 6; n++) await login(gate, 'ann', 'guess')
  t.is((await login(gate, 'ann', 'guess')).status, 429)
  await reload(gate, { rules: { packs: ['test-logins'] }, limits: { drain: '2s' } })
  t.is((await login(gate, 'ann', 'guess')).status, 429)
  await reload(gate, { rules: { packs: ['test-logins'], modes: { 'login-user': 'detect' } } })
  t.is((await login(gate, 'ann', 'guess')).status, 401)
  await reload(gate, { rules: { packs: ['test-logins'], modes: { 'test-logins': 'off' } } })
  t.is((await login(gate, 'ann', 'guess')).status, 401)
  await reload(gate, { rules: { packs: ['test-logins'] } })
  t.is((await login(gate, 'ann', 'guess')).status, 401)
})

test('thirty at once get no further than thirty in a row', async t => {
  await using gate = await startCounting()
  const answers = await Promise.all(Array.from({ length: 30 }, (_, n) => login(gate, 'ann', `guess ${n}`)))
  t.is(answers.filter(answer => answer.status === 401).length, 5)
  t.is(answers.filter(answer => answer.status === 429).length, 25)
  t.true(answers.every(answer => answer.status === 401 || Number(answer.headers['retry-after']) >= 1))
})

test('many names from one strange address hold the address; from a known site it is recorded and nobody is shut out', async t => {
  await using gate = await startCounting()
  const tried: number[] = []
  for (let n = 0; n < 16; n++) tried.push((await login(gate, `user ${n}`, 'guess')).status)
  t.deepEqual(tried, [...Array<number>(12).fill(401), ...Array<number>(4).fill(429)])
  t.is((await ask(gate, { path: '/LabTech/Agent.aspx' })).status, 200, 'agents of the address go on')
  for (let n = 0; n < 16; n++) t.is((await login(gate, `user ${n}`, 'guess', GB)).status, 401)
  await othersGoOn(t, gate, GB)
  const soft = await gate.lines.next('rate.held', entry => entry.address === GB)
  t.like(soft, { acts: false, whom: 'source', site: 'office' })
})

test('a rule in detect mode counts and reports once, and refuses nothing', async t => {
  await using gate = await startCounting({ modes: { 'login-user': 'detect', 'login-source': 'off' } })
  for (let n = 0; n < 12; n++) t.is((await login(gate, 'ann', 'guess')).status, 401)
  t.is(gate.lines.of('rate.held').length, 1)
  t.like(gate.lines.of('rate.held')[0], { acts: false })
})

test('requests are counted by their head, and only where the rule looks', async t => {
  await using gate = await startCounting()
  const statuses = new Set<number>()
  for (let n = 0; n < 20; n++) statuses.add((await ask(gate, { path: '/automate/flood' })).status)
  t.false(statuses.has(429))
  const held = await ask(gate, { path: '/automate/flood' })
  t.is(held.status, 429)
  t.true(Number(held.headers['retry-after']) > 100)
  t.not((await ask(gate, { path: '/automate' })).status, 429)
  t.not((await ask(gate, { path: '/automate/flood' }, { from: '216.160.83.77' })).status, 429)
})
