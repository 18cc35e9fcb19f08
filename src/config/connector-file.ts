// Loads connector.yaml and the files that it names; problems come with file, line and column.
import { X509Certificate } from 'node:crypto'
import { statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parseAddress } from '../net/address.ts'
import { reporter, type Findings } from './context.ts'
import { readWhole } from './files.ts'
import { problemAt, sortProblems, type Problem } from './problems.ts'
import { decodeText, MAX_FILE_BYTES, readYaml, type Path } from './read.ts'
import { connectorFile, type WrittenConnector } from './schema-connector.ts'
import { validate } from './validate.ts'

/** Everything that a connector needs to know. */
export type LoadedConnector = Omit<WrittenConnector, 'gates' | 'services' | 'proxy' | 'key' | 'identity'> & {
  readonly key: string
  /** Full name of the file with its identity; it need not exist. */
  readonly identityFile: string
  readonly gates: readonly {
    readonly host: string
    readonly port: number
    readonly address: string | null
    readonly pinsSha256: readonly string[]
    readonly caPem: string | null
  }[]
  readonly proxy: {
    readonly host: string
    readonly port: number
    readonly user: string | null
    readonly password: string
  } | null
  readonly tcp: readonly {
    readonly name: string
    readonly host: string
    readonly port: number
    readonly tls: {
      readonly serverName: string
      readonly caPem: string | null
      readonly pinsSha256: readonly string[]
    } | null
  }[]
  readonly udp: readonly {
    readonly name: string
    readonly host: string
    readonly port: number
    readonly contexts: number
    readonly idleMs: number
    readonly loopbackPerClient: boolean
  }[]
}

/** What became of the file. */
export type ConnectorResult =
  | { readonly ok: true; readonly connector: LoadedConnector; readonly warnings: readonly Problem[] }
  | { readonly ok: false; readonly problems: readonly Problem[] }

const MAX_SECRET_BYTES = 4_096
const MAX_PEM_BYTES = 262_144
const MIN_KEY = 8
const IDENTITY_NAME = 'connector.identity'

/**
 * Loads it.
 * @param path absolute path
 * @param env variables of the process, for keys that lie there
 */
export function loadConnectorFile(
  path: string,
  label: string,
  env: Readonly<Record<string, string | undefined>>,
): ConnectorResult {
  const read = readWhole(path, MAX_FILE_BYTES)
  const text = read.ok ? decodeText(read.bytes) : { problem: read.problem }
  if ('problem' in text) {
    const whole = { file: label, line: 0, column: 0 }
    return { ok: false, problems: [problemAt(whole, [], text.problem, read.ok ? null : read.hint)] }
  }
  const parsed = readYaml(label, text.text)
  if (!parsed.ok) return { ok: false, problems: sortProblems(parsed.problems) }
  const validated = validate(connectorFile, parsed.source)
  const findings: Findings = { problems: [...validated.problems], warnings: [] }
  if (validated.value === null || findings.problems.length > 0)
    return { ok: false, problems: sortProblems(findings.problems) }
  const report = reporter(findings, parsed.source.lines, validated.at)
  const connector = compile(validated.value, new Files(dirname(path), env, report))
  if (findings.problems.length > 0) return { ok: false, problems: sortProblems(findings.problems) }
  return { ok: true, connector, warnings: sortProblems(findings.warnings) }
}

function compile(written: WrittenConnector, files: Files): LoadedConnector {
  const { gates, services, proxy, key, identity, ...rest } = written
  const entries = Object.entries(services)
  return {
    ...rest,
    key: files.key(key),
    identityFile: files.identity(identity),
    gates: gates.map(({ url, address, pin, ca }, index) => ({
      ...url,
      address: address ?? null,
      pinsSha256: pinsOf(pin),
      caPem: files.pem(ca, ['gates', index, 'ca']),
    })),
    proxy: proxy === undefined ? null : proxyOf(proxy, files),
    tcp: entries.flatMap(([name, entry]): LoadedConnector['tcp'] => {
      if ('tcp' in entry) return [{ name, ...entry.tcp, tls: null }]
      if (!('tls' in entry)) return []
      const { tls, serverName = tls.host, ca, pin } = entry
      const caPem = files.pem(ca, ['services', name, 'ca'])
      return [{ name, ...tls, tls: { serverName, caPem, pinsSha256: pinsOf(pin) } }]
    }),
    udp: entries.flatMap(([name, entry]) => {
      if (!('udp' in entry)) return []
      const { udp, sources, idle, loopbackPerClient } = entry
      files.literal(udp.host, ['services', name, 'udp'])
      return [{ name, ...udp, contexts: sources, idleMs: idle, loopbackPerClient }]
    }),
  }
}

function proxyOf(proxy: NonNullable<WrittenConnector['proxy']>, files: Files): LoadedConnector['proxy'] {
  const url = new URL(proxy.url)
  const password =
    proxy.passwordFile === undefined ? '' : files.secret(proxy.passwordFile, ['proxy', 'passwordFile'])
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? 80 : Number(url.port),
    user: proxy.user ?? null,
    password,
  }
}

function pinsOf(pins: readonly string[] | undefined): readonly string[] {
  return (pins ?? []).map(pin => pin.slice('sha256/'.length))
}

/** The files beside connector.yaml. What is wrong with one is reported where it is named; what it holds never is. */
class Files {
  readonly #folder: string
  readonly #env: Readonly<Record<string, string | undefined>>
  readonly #report: ReturnType<typeof reporter>

  constructor(
    folder: string,
    env: Readonly<Record<string, string | undefined>>,
    report: ReturnType<typeof reporter>,
  ) {
    this.#folder = folder
    this.#env = env
    this.#report = report
  }

  key(written: WrittenConnector['key']): string {
    if ('file' in written) {
      const key = this.secret(written.file, ['key', 'file'])
      if (key !== '' && key.length < MIN_KEY) this.#report.error(['key', 'file'], TOO_SHORT)
      return key
    }
    const key = this.#env[written.env] ?? ''
    if (key.length < MIN_KEY)
      this.#report.error(['key', 'env'], key === '' ? `the variable ${written.env} is not set` : TOO_SHORT)
    return key
  }

  /** What the connector writes lies where systemd lets it write, as far as there is such a place. */
  identity(written: string | undefined): string {
    if (written !== undefined) return resolve(this.#folder, written)
    const [state = ''] = (this.#env['STATE_DIRECTORY'] ?? '').split(':')
    return resolve(state === '' ? this.#folder : state, IDENTITY_NAME)
  }

  secret(name: string, path: Path): string {
    const full = resolve(this.#folder, name)
    const read = readWhole(full, MAX_SECRET_BYTES)
    if (!read.ok) {
      this.#report.error(path, `${JSON.stringify(name)} cannot be read: ${read.problem}`)
      return ''
    }
    // On Windows the mode says nothing; docs/connector.md says how to restrict the file there.
    const { mode } = statSync(full)
    if ((mode & 0o077) !== 0 && !/^[A-Za-z]:/.test(full))
      this.#report.error(path, `${JSON.stringify(name)} can be read by others`, `chmod 600 ${full}`)
    const secret = new TextDecoder().decode(read.bytes).replace(/\r?\n$/, '')
    if (secret === '') this.#report.error(path, `${JSON.stringify(name)} is empty`)
    return secret
  }

  pem(name: string | undefined, path: Path): string | null {
    if (name === undefined) return null
    const read = readWhole(resolve(this.#folder, name), MAX_PEM_BYTES)
    const problem = read.ok ? problemOfPem(read.bytes) : read.problem
    if (problem !== null) this.#report.error(path, `${JSON.stringify(name)} cannot be used: ${problem}`)
    return read.ok ? new TextDecoder().decode(read.bytes) : null
  }

  literal(host: string, path: Path): void {
    if (parseAddress(host) === undefined)
      this.#report.error(
        path,
        `${JSON.stringify(host)} is a name; UDP needs an address`,
        'for example 127.0.0.1:75',
      )
  }
}

const TOO_SHORT = `the gateway key has fewer than ${MIN_KEY} characters`

function problemOfPem(bytes: Uint8Array): string | null {
  try {
    void new X509Certificate(bytes)
    return null
  } catch {
    return 'it holds no PEM certificate'
  }
}
