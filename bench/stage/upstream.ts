// The upstream that every peer forwards to: nginx where there is one, else our own; WebSockets always go to our own.
import { mkdirSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CHECK_IN_PATH } from '../load/work.ts'
import { nginxVersion, upstreamLaunch } from '../peers/nginx.ts'
import { LOAD_CORE } from './namespace.ts'
import { startPinned, type Running } from './processes.ts'

/** A running upstream. */
export type Upstream = Running & { readonly port: number; readonly description: string }

/** Starts the HTTP upstream. */
export async function startHttpUpstream(dir: string, port: number): Promise<Upstream> {
  const version = nginxVersion()
  if (version === undefined) return startOwnUpstream(dir, port)
  const own = join(dir, 'upstream')
  mkdirSync(own, { recursive: true })
  const launch = upstreamLaunch({
    dir: own,
    port,
    upstream: { host: '', port: 0 },
    certFile: '',
    keyFile: '',
    geoFile: '',
    homeCountry: '',
  })
  const running = await startPinned({
    argv: launch.argv,
    core: LOAD_CORE,
    logFile: join(own, 'log'),
    ready: () => answers(port),
  })
  return { ...running, port, description: `${version} without TLS (return, sendfile)` }
}

/** Starts our own upstream, which also speaks WebSocket. */
export async function startOwnUpstream(dir: string, port: number): Promise<Upstream> {
  const running = await startPinned({
    argv: [process.execPath, fileURLToPath(new URL('own-upstream.ts', import.meta.url)), String(port)],
    core: LOAD_CORE,
    logFile: join(dir, 'own-upstream.log'),
    ready: () => answers(port),
  })
  return { ...running, port, description: `own node:net server on Node ${process.version}` }
}

function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const probe = request({ host: '127.0.0.1', port, path: CHECK_IN_PATH, timeout: 1_000 }, response => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    probe.on('error', () => resolve(false))
    probe.on('timeout', () => probe.destroy())
    probe.end()
  })
}
