// What Prometheus sees of the whole gate: every name is documented, and counters and gauges move with the traffic.
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { WebSocket } from 'ws'
import {
  AGENT_NAME,
  ask,
  client,
  GB,
  metricsText,
  openTls,
  ROOT,
  startWholeGate,
} from '../support/whole-gate.ts'

test('every metric is explained in the documents', async t => {
  await using gate = await startWholeGate()
  await ask(gate)
  const documents = readdirSync(join(ROOT, 'docs'))
    .filter(name => name.endsWith('.md'))
    .map(name => readFileSync(join(ROOT, 'docs', name), 'utf8'))
    .join('\n')
  const names = [...(await metricsText(gate.portcullis)).matchAll(/^# TYPE (portcullis_\w+) /gm)].map(
    match => match[1] ?? '',
  )
  t.true(names.length > 20)
  t.deepEqual(
    names.filter(name => !new RegExp(`\\b${name}\\b`).test(documents)),
    [],
  )
})

test('counters and gauges move with the traffic', async t => {
  await using gate = await startWholeGate()
  using kept = client(gate)
  for (let count = 0; count < 3; count++) await kept.ask({})
  await kept.ask({ method: 'POST', path: '/LabTech/Transfer/x', body: 'x'.repeat(1_000) })
  await kept.ask({ path: '/automate?file=../../windows/win.ini' })
  await t.throwsAsync(openTls(gate, { from: GB }))
  const socket = await openTls(gate)
  const webSocket = new WebSocket(`ws://${AGENT_NAME}/LabTech/agent/ws`, { createConnection: () => socket })
  await once(webSocket, 'open')

  t.is(await gate.metric('portcullis_requests_total', { class: 'agent' }), 3)
  t.is(await gate.metric('portcullis_requests_total', { class: 'transfer' }), 1)
  t.true((await gate.metric('portcullis_bytes_total', { class: 'transfer', direction: 'in' })) >= 1_000)
  t.is(await gate.metric('portcullis_request_duration_seconds_count', { class: 'agent' }), 3)
  t.is(await gate.count('request.refused'), 1)
  t.is(await gate.count('connection.refused'), 1)
  t.is(await gate.metric('portcullis_connections_open', { listener: 'https' }), 2)
  t.is(await gate.metric('portcullis_connections_open', { listener: 'direct' }), 0)
  t.is(await gate.metric('portcullis_websockets_open'), 1)
  t.is(await gate.metric('portcullis_upstream_up', { member: 'rmm/primary' }), 1)
  t.true((await gate.metric('portcullis_certificate_days_left', { name: AGENT_NAME })) > 0)
  t.is(await gate.metric('portcullis_store_usable'), 1)
  const status = await gate.status()
  t.is(status.open.webSockets, 1)
  t.is(status.open.connections, 2)

  webSocket.terminate()
  kept[Symbol.dispose]()
  await gate.idle()
  t.is(await gate.metric('portcullis_websockets_open'), 0)
  t.is(await gate.metric('portcullis_connections_open'), 0)
  t.is(await gate.metric('portcullis_journal_errors_total'), 0)
})
