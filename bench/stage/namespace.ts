// Moves the benchmark into its own network and mount namespace, so that it may use a public source address without touching any network.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The name that every peer serves and every client asks for. */
export const HOST = 'rmm.example.test'
/** Address of the proxy under test inside the namespace, and so the source address of its clients: a US address to every database. */
export const PROXY_ADDRESS = '8.8.4.4'
/** More source addresses of the same country, for loads that need many connections. */
export const SOURCE_ADDRESSES: readonly string[] = ['8.8.4.5', '8.8.4.6']
/** A source address of another country (Netherlands): peers with a country check must refuse it. */
export const FOREIGN_ADDRESS = '193.0.6.139'
/** Core of the proxy under test; everything else runs on the other one. */
export const PROXY_CORE = 0
export const LOAD_CORE = 1

const MARK = 'PORTCULLIS_BENCH_NAMESPACE'

/** Whether this process already runs inside. */
export function isInside(): boolean {
  return process.env[MARK] !== undefined
}

/**
 * Runs the given script again inside fresh namespaces and returns its exit code.
 * Needs Linux with `unshare`, `ip` and `taskset`, and root or unprivileged user namespaces.
 */
export async function rerunInside(script: string, args: readonly string[]): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), 'portcullis-bench-'))
  const hosts = join(dir, 'hosts')
  writeFileSync(hosts, `127.0.0.1 localhost\n${PROXY_ADDRESS} ${HOST}\n`)
  const setUp = [
    'ip link set lo up',
    ...[PROXY_ADDRESS, FOREIGN_ADDRESS, ...SOURCE_ADDRESSES].map(
      address => `ip addr add ${address}/32 dev lo`,
    ),
    `mount --bind "${hosts}" /etc/hosts`,
    'echo "10000 65000" > /proc/sys/net/ipv4/ip_local_port_range',
    'echo 65535 > /proc/sys/net/core/somaxconn',
    'ulimit -n 65536 2>/dev/null || ulimit -n $(ulimit -Hn)',
    `exec taskset -c ${LOAD_CORE} "$@"`,
  ].join('\n')
  const unprivileged = process.getuid?.() === 0 ? [] : ['--map-root-user']
  const child = spawn(
    'unshare',
    [...unprivileged, '--net', '--mount', 'sh', '-ec', setUp, 'sh', process.execPath, script, ...args],
    { stdio: 'inherit', env: { ...process.env, [MARK]: dir } },
  )
  const interrupt = () => child.kill('SIGTERM')
  process.once('SIGINT', interrupt)
  process.once('SIGTERM', interrupt)
  const [code] = (await once(child, 'exit')) as [number | null]
  // Out here, so that an interrupted run leaves nothing behind either.
  rmSync(dir, { recursive: true, force: true })
  return code ?? 1
}
