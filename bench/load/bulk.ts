// Bulk download and upload over raw TCP: the server behind the relays, and the client before them.
import { execFile } from 'node:child_process'
import { connect } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { HOST, LOAD_CORE } from '../stage/namespace.ts'
import { startPinned, type Running } from '../stage/processes.ts'

const PROGRAM = fileURLToPath(new URL('bulk.py', import.meta.url))
/** The server behind every relay of raw TCP. */
export const BULK_PORT = 9_002
/** A peer that relays raw TCP listens on its port and so many more. */
export const STREAM_OFFSET = 400

const run = promisify(execFile)

/** What was carried. */
export type BulkResult = { readonly bytes: number; readonly seconds: number; readonly failed: number }

/** Starts the server. Throws without python3. */
export async function startBulkServer(dir: string): Promise<Running> {
  return await startPinned({
    argv: ['python3', PROGRAM, 'serve', String(BULK_PORT)],
    core: LOAD_CORE,
    logFile: join(dir, 'bulk.log'),
    ready: () => stands(BULK_PORT),
  })
}

/** Carries as much as goes through. @param port of the peer's HTTPS listener */
export async function bulk(
  way: 'down' | 'up',
  {
    port,
    seconds,
    connections,
  }: { readonly port: number; readonly seconds: number; readonly connections: number },
): Promise<BulkResult> {
  const words = ['load', HOST, String(port + STREAM_OFFSET), way, String(connections), String(seconds)]
  const { stdout } = await run('python3', [PROGRAM, ...words])
  return JSON.parse(stdout) as BulkResult
}

async function stands(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port })
  return await new Promise(resolve => {
    socket
      .once('connect', () => {
        socket.destroy()
        resolve(true)
      })
      .once('error', () => resolve(false))
  })
}
