// Drives a proxy to saturation over kept-alive connections with wrk.
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { HOST } from '../stage/namespace.ts'
import { CHECK_IN_PATH, DOWNLOAD_PATH, FORM_TYPE, USER_AGENT, checkInFormLua } from './work.ts'

const run = promisify(execFile)

/** What wrk did. */
export type WrkResult = {
  readonly requests: number
  readonly bytes: number
  readonly seconds: number
  readonly statusErrors: number
  readonly socketErrors: number
}

/** Kinds of load that wrk produces. */
export type WrkLoad = 'get' | 'post' | 'download'

const DONE = `
done = function(summary)
  local e = summary.errors
  io.write(string.format('\\nRESULT {"requests":%d,"bytes":%d,"seconds":%.6f,"statusErrors":%d,"socketErrors":%d}\\n',
    summary.requests, summary.bytes, summary.duration / 1e6, e.status, e.connect + e.read + e.write + e.timeout))
end`

const HEADERS = `wrk.headers["User-Agent"] = "${USER_AGENT}"\nwrk.headers["Accept"] = "*/*"\n`

const SCRIPTS: Readonly<Record<WrkLoad, string>> = {
  get: HEADERS + DONE,
  download: HEADERS + DONE,
  post: `${HEADERS}wrk.method = "POST"\nwrk.headers["Content-Type"] = "${FORM_TYPE}"\n${checkInFormLua()}
request = function() return wrk.format(nil, nil, nil, form()) end\n${DONE}`,
}

/** Runs wrk against the port. `dir` holds its script and `openssl.cnf`. */
export async function wrk(
  load: WrkLoad,
  options: {
    readonly port: number
    readonly seconds: number
    readonly connections: number
    readonly dir: string
  },
): Promise<WrkResult> {
  const script = join(options.dir, `${load}.lua`)
  writeFileSync(script, SCRIPTS[load])
  const path = load === 'download' ? DOWNLOAD_PATH : CHECK_IN_PATH
  const args = ['-t1', `-c${options.connections}`, `-d${options.seconds}s`, '--timeout', '10s', '-s', script]
  const { stdout } = await run('wrk', [...args, `https://${HOST}:${options.port}${path}`], {
    env: { ...process.env, OPENSSL_CONF: join(options.dir, 'openssl.cnf') },
  })
  const line = /^RESULT (.*)$/m.exec(stdout)?.[1]
  if (line === undefined) throw new Error(`wrk printed no result:\n${stdout}`)
  return JSON.parse(line) as WrkResult
}
