// Waiting for conditions of other programs: lines of their output, or a question asked again until the answer fits.
import type { ChildProcess } from 'node:child_process'

/** Resolves when the program prints a line that matches. @throws when it ends or the time is over, with what it printed */
export function waitForLine(
  child: ChildProcess,
  pattern: RegExp,
  timeoutMs: number,
): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    let seen = ''
    const finish = (error: Error | null, match?: RegExpExecArray): void => {
      clearTimeout(timer)
      child.stdout?.off('data', onData)
      child.stderr?.off('data', onData)
      child.off('exit', onExit)
      // Keep reading, or the program stops when its pipe is full.
      child.stdout?.resume()
      child.stderr?.resume()
      if (match !== undefined) resolve(match)
      else reject(error ?? new Error('no match'))
    }
    const onData = (chunk: Buffer): void => {
      seen = (seen + chunk.toString()).slice(-20_000)
      const match = pattern.exec(seen)
      if (match !== null) finish(null, match)
    }
    const onExit = (code: number | null): void =>
      finish(new Error(`ended with ${code}; it printed:\n${seen}`))
    const timer = setTimeout(() => finish(new Error(`not seen: ${pattern}; it printed:\n${seen}`)), timeoutMs)
    child.stdout?.on('data', onData)
    child.stderr?.on('data', onData)
    child.once('exit', onExit)
  })
}

/** Asks until the answer is not undefined. @throws when the time is over */
export async function until<T>(
  what: string,
  timeoutMs: number,
  ask: () => Promise<T | undefined>,
): Promise<T> {
  const end = Date.now() + timeoutMs
  for (;;) {
    const answer = await ask().catch(() => undefined)
    if (answer !== undefined) return answer
    if (Date.now() > end) throw new Error(`not reached in ${timeoutMs / 1000} s: ${what}`)
    await new Promise(resolve => void setTimeout(resolve, 500))
  }
}
