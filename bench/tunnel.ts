// Measures TCP through the tunnel: one download and one upload on one stream, over a line with 40 ms there and back.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect as connectTls } from 'node:tls'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'
import { addKey } from '../src/access/edit.ts'
import { startGateProcess } from '../test/support/gate-process.ts'
import { startTcpLink } from '../test/support/link.ts'
import { judgeShort } from './report/short.ts'
import { AGENT_NAME } from '../test/support/whole-gate.ts'
import { connectorDirectory, startConnectorProcess } from '../test/tunnel/process.ts'

const KEY = 'correct horse battery'
const ONE_WAY_MS = 20
/** For CI: less, and an exit code. */
const IS_SHORT = process.argv.includes('--short')
const BYTES = (IS_SHORT ? 100 : 400) * 1024 * 1024
const ROUNDS = IS_SHORT ? 2 : 3

/** Milliseconds of CPU for 100 MiB, gate and connector together, on a quiet machine; and the least bytes in a second. */
const CPU_GOAL_MS = 550
const SPEED_GOAL = 40e6

if (isMainThread) await measure()
else await carry()

/** The line has a thread of its own: it must not wait for the client. */
async function carry(): Promise<void> {
  const link = await startTcpLink({ port: Number(workerData), delayMs: ONE_WAY_MS })
  parentPort?.postMessage(link.port, [])
}

async function measure(): Promise<void> {
  const port = await startServer()
  await using gate = await startGateProcess({
    upstreams: {
      rmm: { primary: 'connector://rmm/http', health: { path: '/health', statuses: 200, body: 'ok' } },
    },
    gateway: { connectors: { rmm: { key: 'bench' } } },
    rules: { packs: [] },
  })
  await addKey(
    join(gate.directory, 'state/access.json'),
    KEY,
    { name: 'bench', maxClients: null },
    Date.now(),
  )
  gate.signal('SIGHUP')
  await gate.lines.next('keys.reloaded')
  const line = new Worker(new URL(import.meta.url), { workerData: gate.directPort })
  const [linkPort] = (await once(line, 'message')) as [number]
  const gates = [{ url: `https://${AGENT_NAME}:${linkPort}`, address: '127.0.0.1', ca: 'ca.pem' }]
  const file = connectorDirectory({ gates, services: { http: { tcp: `127.0.0.1:${port}` } } }, KEY, {
    'ca.pem': gate.ca,
  })
  await using connector = startConnectorProcess(file)
  await connector.next('gate.attached')
  await gate.lines.next('client.connected')
  while (!(await isServed(gate.directPort, gate.ca))) await wait(100)
  const pids = { gate: gate.pid, connector: connector.pid }
  const best = {
    download: { cpuMs: Infinity, seconds: Infinity },
    upload: { cpuMs: Infinity, seconds: Infinity },
  }
  for (const what of ['download', 'upload'] as const) {
    for (let round = 0; round <= ROUNDS; round++) {
      const before = { gate: cpuMs(pids.gate), connector: cpuMs(pids.connector) }
      const startedMs = performance.now()
      await exchange(gate.directPort, gate.ca, what)
      const seconds = (performance.now() - startedMs) / 1_000
      const used = {
        gate: cpuMs(pids.gate) - before.gate,
        connector: cpuMs(pids.connector) - before.connector,
      }
      best[what] = {
        cpuMs: Math.min(best[what].cpuMs, ((used.gate + used.connector) * 100 * 1024 * 1024) / BYTES),
        seconds: Math.min(best[what].seconds, seconds),
      }
      // The first round warms up windows and code.
      if (round > 0)
        say(
          `${what}: ${(BYTES / 1e6 / seconds).toFixed(1)} MB/s, CPU gate ${used.gate} ms, connector ${used.connector} ms for ${BYTES >> 20} MiB`,
        )
    }
  }
  await line.terminate()
  if (!IS_SHORT) return
  process.exitCode = judgeShort(
    (['download', 'upload'] as const).flatMap(what => [
      {
        text: `${what}: CPU of both ends for 100 MiB`,
        value: best[what].cpuMs,
        most: CPU_GOAL_MS,
        unit: 'ms',
      },
      {
        text: `${what}: time for 100 MiB over 40 ms`,
        value: best[what].seconds,
        most: BYTES / SPEED_GOAL,
        unit: 's',
      },
    ]),
  )
}

/** Sends as many bytes as asked for, and swallows all that comes. */
async function startServer(): Promise<number> {
  const block = Buffer.alloc(65_536, 7)
  const server = createServer((request, response) => {
    if (request.method === 'POST') {
      request.resume().on('end', () => response.end('ok'))
      return
    }
    if (request.url === '/health') {
      response.end('ok')
      return
    }
    response.writeHead(200, { 'content-length': BYTES })
    let left = BYTES
    const push = (): void => {
      while (left > 0) {
        left -= block.length
        if (!response.write(block)) {
          response.once('drain', push)
          return
        }
      }
      response.end()
    }
    push()
  }).listen(0, '127.0.0.1')
  server.unref()
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function exchange(port: number, ca: string, what: 'download' | 'upload'): Promise<void> {
  const socket = connectTls({ host: '127.0.0.1', port, servername: AGENT_NAME, ca })
  await once(socket, 'secureConnect')
  const head = `${what === 'upload' ? 'POST' : 'GET'} /LabTech/Transfer/x HTTP/1.1\r\nHost: ${AGENT_NAME}\r\nConnection: close\r\n`
  socket.write(what === 'upload' ? `${head}Content-Length: ${BYTES}\r\n\r\n` : `${head}\r\n`)
  let got = 0
  socket.on('data', chunk => (got += chunk.length))
  if (what === 'upload') {
    const block = Buffer.alloc(65_536, 7)
    for (let sent = 0; sent < BYTES; sent += block.length)
      if (!socket.write(block)) await once(socket, 'drain')
  }
  await once(socket, 'close')
  if (what === 'download' && got < BYTES) throw new Error(`only ${got} bytes came`)
}

/** Whether the probe has found the server through the connector. */
async function isServed(port: number, ca: string): Promise<boolean> {
  const socket = connectTls({ host: '127.0.0.1', port, servername: AGENT_NAME, ca })
  let text = ''
  socket.on('error', () => undefined)
  socket.on('data', chunk => (text += String(chunk)))
  socket.write(`GET /health HTTP/1.1\r\nHost: ${AGENT_NAME}\r\nConnection: close\r\n\r\n`)
  await new Promise<void>(done => void socket.once('close', () => done()))
  return text.startsWith('HTTP/1.1 200')
}

/** Processor time of a process so far. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * 10
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
