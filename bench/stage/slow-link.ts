// A second network namespace behind a link with delay and loss, for programs that are to be far away.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('slow-link.py', import.meta.url))

/** A far place. */
export type SlowLink = {
  /** What a command line begins with to run there. */
  readonly prefix: readonly string[]
  readonly close: () => void
}

/**
 * Opens it. Needs python3, nsenter, /dev/net/tun and root in this namespace.
 * @param near address here that is to be reached from there, and `far`: the address there
 * @param delayMs one way
 * @param lossPercent in each direction
 * @throws Error with what the link program said
 */
export async function openSlowLink(
  near: string,
  far: string,
  delayMs: number,
  lossPercent: number,
): Promise<SlowLink> {
  const place = spawn('unshare', ['--net', 'sleep', 'infinity'], { stdio: 'ignore' })
  await once(place, 'spawn')
  const pid = String(place.pid ?? 0)
  // `unshare` becomes `sleep` only after it has entered its namespace.
  await new Promise(resolve => setTimeout(resolve, 300))
  const link = spawn('python3', [PROGRAM, pid, near, far, String(delayMs), String(lossPercent)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  link.stderr.on('data', chunk => (said += String(chunk)))
  const close = (): void => {
    link.kill('SIGKILL')
    place.kill('SIGKILL')
  }
  process.once('exit', close)
  const outcome = await Promise.race([
    once(link.stdout, 'data').then(() => 'ready'),
    once(link, 'close').then(() => 'over'),
    once(link, 'error').then(() => 'over'),
  ])
  if (outcome !== 'ready') {
    close()
    throw new Error(`the slow link could not be made: ${said.trim().split('\n').at(-1) ?? ''}`)
  }
  return { prefix: ['nsenter', '-t', pid, '-n'], close }
}
