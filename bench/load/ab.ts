// Opens new TLS connections with one check-in each, by ab: it never offers a session, so every handshake is a full one.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { HOST } from '../stage/namespace.ts'
import { CHECK_IN_PATH, USER_AGENT } from './work.ts'

const run = promisify(execFile)

/** What ab did. */
export type AbResult = {
  readonly connections: number
  readonly failed: number
  readonly seconds: number
  /** For example `TLSv1.3,TLS_AES_128_GCM_SHA256,256,128`. */
  readonly protocol: string
  /** Key exchange, for example `X25519 253 bits`. */
  readonly group: string
}

/** Runs ab against the port for the given time. */
export async function ab(options: {
  readonly port: number
  readonly seconds: number
  readonly connections: number
  readonly dir: string
}): Promise<AbResult> {
  const { stdout } = await run(
    'ab',
    [
      '-q',
      `-t${options.seconds}`,
      '-n10000000',
      `-c${options.connections}`,
      '-H',
      `User-Agent: ${USER_AGENT}`,
      `https://${HOST}:${options.port}${CHECK_IN_PATH}`,
    ],
    { env: { ...process.env, OPENSSL_CONF: join(options.dir, 'openssl.cnf') } },
  )
  return parseAb(stdout)
}

/** Reads ab's report. Throws when it is none. */
export function parseAb(text: string): AbResult {
  const field = (label: string): string => new RegExp(`^${label}:\\s+(.*?)\\s*$`, 'm').exec(text)?.[1] ?? ''
  const connections = Number.parseInt(field('Complete requests'), 10)
  if (Number.isNaN(connections)) throw new Error(`ab printed no result:\n${text}`)
  return {
    connections,
    failed:
      Number.parseInt(field('Failed requests') || '0', 10) +
      Number.parseInt(field('Non-2xx responses') || '0', 10),
    seconds: Number.parseFloat(field('Time taken for tests')),
    protocol: field('SSL/TLS Protocol'),
    group: field('Server Temp Key'),
  }
}
