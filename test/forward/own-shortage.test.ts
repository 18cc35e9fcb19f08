// Attack: a flood that takes the gate's last socket must not make a living server look dead.
import { execFile } from 'node:child_process'
import { createServer } from 'node:http'
import { promisify } from 'node:util'
import test from 'ava'
import { listen } from './support/exchange.ts'

const run = promisify(execFile)
const source = (file: string): string => JSON.stringify(new URL(`../../${file}`, import.meta.url).href)

/** Probes twice in a process of its own: with sockets left, and with none left. */
const SCRIPT = (port: number): string => `
  const { openSync, closeSync } = await import('node:fs')
  const { probe } = await import(${source('src/forward/probe.ts')})
  const { testProbe, upstreamGroup } = await import(${source('test/support/snapshot.ts')})
  const [member] = upstreamGroup([${port}]).members
  const ask = () => probe(member, { ...testProbe, timeoutMs: 5000 }, 'rmm', new AbortController().signal)
  const before = await ask()
  const taken = []
  try { for (;;) taken.push(openSync('/dev/null')) } catch {}
  const without = await ask()
  for (const descriptor of taken) closeSync(descriptor)
  console.log(JSON.stringify([before, without, await ask()]))
`

test('attack: without a free socket a probe says nothing about the server', async t => {
  const server = createServer((_request, response) => response.end('ok'))
  const port = await listen(t, server)
  const command = 'ulimit -n 100 && exec "$0" --input-type=module --eval "$1"'
  const { stdout } = await run('/bin/sh', ['-c', command, process.execPath, SCRIPT(port)])
  t.deepEqual(JSON.parse(stdout), [{ kind: 'healthy' }, { kind: 'not-asked' }, { kind: 'healthy' }])
})
