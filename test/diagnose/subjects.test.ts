// What a diagnosis can be asked about: sites, ranges, lists, single devices, user agents; and the block for a ticket.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import anyTest from 'ava'
import { startRunningBench } from '../cli/support.ts'
import { AGENT, diagnose, GB, US } from './support.ts'

const test = anyTest.serial
const SITE = `sites: { acme: { name: Acme Ltd, addresses: [216.160.83.56/30, ${GB}] } }`

test('a site: one line per source, grouped by cause, then the worst in full; a range, a list and JSON say the same', async t => {
  const bench = await startRunningBench(t, SITE)
  await bench.ask(US, AGENT)
  await bench.ask('216.160.83.57', AGENT)
  await bench.ask(GB, AGENT)
  const { code, out } = await bench.cli(['diagnose', 'acme ltd'])
  t.is(code, 1)
  t.regex(out, /^✗ site acme \(Acme Ltd\): 3 sources, 2 well, 1 not\./)
  t.regex(out, /\ncountry \(1\)\n {2}81\.2\.69\.142 +acme +81\.2\.69\.142 is refused/)
  t.regex(out, /\nhealthy \(2\)\n {2}216\.160\.83\.5[67] +acme/)
  t.regex(out, /The worst: 81\.2\.69\.142\n\n✗ 81\.2\.69\.142 is refused/)
  t.is((await bench.cli(['diagnose', '216.160.83.56/30'])).code, 0)
  writeFileSync(join(bench.root, 'list.txt'), `# three\n${US}\n${GB} # London\n\nacme\n`)
  const { value } = await bench.json(['diagnose', '--file', 'list.txt'])
  t.like(value, { truncated: false, causes: { country: 1, healthy: 2 } })
  t.is((value['sources'] as readonly unknown[]).length, 3)
})

test('one device among others behind the same address, by the beginning of its fingerprint or by its user agent', async t => {
  const bench = await startRunningBench(t)
  await bench.ask(US, { ...AGENT, headers: { 'user-agent': 'LabTech Agent' } })
  await bench.ask(US, { ...AGENT, tls: 'TLSv1' })
  const whole = (await bench.json(['diagnose', US])).value['devices'] as readonly {
    ja4: string
    trouble: unknown
  }[]
  t.is(whole.length, 2)
  const old = whole.find(device => device.trouble !== null)?.ja4 ?? ''
  t.regex(old, /^t10/)
  const found = await diagnose(bench, `${US}#t10`)
  t.is(found.cause, 'tls-version')
  t.regex(found.sentence, /^The device t10\S+ behind 216\.160\.83\.56 offers only TLSv1/)
  t.true((await diagnose(bench, `${US}#t13`)).healthy)
  t.regex(
    (await bench.cli(['diagnose', `${US}#t10`])).out,
    /Clients behind the address\n(?:.*\n)?→ t10|→ t10/,
  )
  t.true((await diagnose(bench, 'LabTech')).healthy)
  t.is((await diagnose(bench, old)).cause, 'tls-version')
  t.regex(
    (await bench.cli(['diagnose', `${US}#t99`])).err,
    /no client with the fingerprint t99.*Clients there: t1/s,
  )
})

test('a misspelt site is suggested', async t => {
  const bench = await startRunningBench(t, SITE)
  const { code, err } = await bench.cli(['diagnose', 'acmee'])
  t.is(code, 2)
  t.regex(err, /Did you mean the site "acme"/)
  t.regex((await bench.cli(['diagnose', '--file', 'none.txt'])).err, /cannot be read/)
})

test('a ticket has cause, evidence and fix, keeps addresses, and nothing secret or alive in it', async t => {
  const bench = await startRunningBench(t)
  const hidden = 'Zx9Hidden7'
  const file = 'file=../../windows/win.ini'
  const base64 = Buffer.from(`bob:${hidden}`).toString('base64')
  for (const ask of [
    { path: `/automate?token=${hidden}&${file}` },
    { path: `/automate?${file}%20bob%20${hidden}` },
    { path: `/automate?${file}&${encodeURIComponent(`https://bob:${hidden}@x/`)}` },
    { path: `/automate?${file}${encodeURIComponent(`{"password":"${hidden}"}`)}` },
    { path: `/automate?${file}%2526password%253D${hidden}` },
    { path: `/automate/token/${hidden}?${file}` },
    { path: `/automate;jsessionid=${hidden}?${file}` },
    { path: `/automate?${file}`, headers: { authorization: `Basic ${base64}`, 'portcullis-key': hidden } },
    { path: `/automate?${file}%20${base64}` },
    { path: '/automate', headers: { origin: `https://bob:${hidden}@x.example`, 'sec-fetch-mode': 'cors' } },
    { path: `/automate?${file}`, method: 'POST', body: `{"apiKey":"${hidden}","user":"${hidden}"}` },
    {
      path: `/automate?${file}`,
      headers: { 'user-agent': `Agent password=hunter2 ${hidden} \`[x](y)\``, cookie: `session=${hidden}` },
    },
  ])
    await bench.ask(US, ask)
  const { code, out } = await bench.cli(['diagnose', US, '--ticket'])
  t.is(code, 1)
  t.regex(out, /^### Portcullis: 216\.160\.83\.56\n\n\*\*Cause: rule\.\*\*/)
  t.regex(out, /\*\*Evidence\*\*/)
  t.regex(out, /decided by rules\/generic\.yaml:\d+:\d+, reference/)
  t.regex(out, /```yaml\nrules:\n {2}exceptions:/)
  t.notRegex(out, /Zx9Hidden7|hunter2/i)
  t.false(out.includes(base64) || out.includes(bench.root))
  t.regex(out, /Public addresses are kept/)
})

test('a reference from a refusal page explains exactly that refusal', async t => {
  const bench = await startRunningBench(t)
  const refused = await bench.ask(US, {
    path: '/automate?file=../../windows/win.ini',
    headers: { accept: 'application/json' },
  })
  t.true('status' in refused && refused.status === 403)
  const text = 'body' in refused ? refused.body : ''
  const reference = /[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{3}/.exec(text)?.[0] ?? ''
  const sloppy = ` ${reference.toLowerCase().replaceAll('-', ' ').replaceAll('0', 'o')}`
  const { code, out } = await bench.cli(['diagnose', sloppy])
  t.is(code, 0, reference)
  t.regex(out, /Reference +[0-9A-Z-]+/)
  t.regex(out, /GET https:\/\/rmm\.example\.test\/automate/)
  t.regex(out, /Rule +[a-z-]+ \(\w+, enforce\)/)
  t.regex(out, /exceptions:\n +- rule: /)
  const { value } = await bench.json(['diagnose', reference])
  t.deepEqual([value['reference'], value['found']], [reference, true])
  t.deepEqual((await bench.json(['diagnose', 'P7F3-K9QX-M2A'])).value, {
    reference: 'P7F3-K9QX-M2A',
    found: false,
  })
})
