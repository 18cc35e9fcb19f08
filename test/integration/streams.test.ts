// Raw TCP through the whole gate: reload opens it, and explain, plan, status, metrics and diagnosis see it.
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { startRunningBench } from '../cli/support.ts'
import { diagnose } from '../diagnose/support.ts'
import { connectTcp } from '../edge/gate-harness.ts'
import { attempt, startServer, take } from '../edge/tcp/harness.ts'
import { until } from '../support/whole-gate.ts'

const HERE = '127.0.0.1'

test('a stream is opened by a reload, explained, counted, planned and diagnosed', async t => {
  const server = await startServer(t, socket => socket.pipe(socket))
  const bench = await startRunningBench(t, 'geo: { loopback: allow }')
  const { streams } = bench.portcullis
  bench.mergePolicy(
    `streams: { backup: { address: '127.0.0.1:0', upstream: '127.0.0.1:${server.port}', class: transfer } }`,
  )
  const reload = await bench.cli(['reload'])
  t.is(reload.code, 0, reload.err)
  const port = streams.addresses()[0]?.port ?? 0
  const client = await connectTcp(port)
  client.write('a dump')
  t.is(await take(client, 6), 'a dump')
  t.regex(
    (await bench.cli(['status'])).out,
    /Streams\n +backup +tcp +1 open +1 since the start, 0 refused +6 B in, 6 B out/,
  )
  t.regex((await bench.cli(['status', '--connections'])).out, /127\.0\.0\.1 .* stream transfer /)
  const explained = await bench.cli(['explain', HERE, '--listener', 'backup'])
  t.regex(
    explained.out,
    /Stream backup\n[^]*within the limits of stream backup[^]*backup +127\.0\.0\.1:0 +open +transfer to 127/,
  )
  t.like((await bench.json(['explain', HERE])).value['streams'], [{ listener: 'backup', allowed: true }])
  const { host, port: admin } = bench.portcullis.adminEndpoint() ?? { host: '', port: 0 }
  const metrics = await (await fetch(`http://${host}:${admin}/metrics`)).text()
  t.regex(metrics, /portcullis_streams_open\{listener="backup"\} 1/)
  client.end()
  await until(() => streams.connections().length === 0)

  const directory = join(bench.root, 'candidate')
  cpSync(join(bench.root, 'policies'), directory, { recursive: true })
  const file = join(directory, 'portcullis.yaml')
  writeFileSync(file, `${readFileSync(file, 'utf8')}classes: { transfer: { access: closed } }\n`)
  const plan = (await bench.json(['plan', directory])).value['replay'] as {
    readonly changes: readonly unknown[]
  }
  t.like(plan.changes, [
    { kind: 'lost', address: HERE, class: 'transfer', reason: 'class-closed', activeAgent: true },
  ])

  await server.stop()
  t.is(await attempt(port), 'ECONNRESET')
  const found = await diagnose(bench, HERE)
  t.is(found.cause, 'upstream', found.sentence)
  t.regex(found.sentence, /was reset on backup once, because no server behind it could be reached/)
})
