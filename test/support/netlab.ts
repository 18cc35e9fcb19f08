// A little internet of network namespaces: hosts with real-looking public addresses around one router, and no way out. Needs root.
import { execFile, spawn, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { promisify } from 'node:util'

const execute = promisify(execFile)

/** One host: its name in the lab and its public addresses (IPv4). */
export type LabHost = { readonly name: string; readonly addresses: readonly string[] }

/** A running lab. */
export type NetLab = {
  /** Starts a program on a host. */
  readonly spawn: (
    host: string,
    command: string,
    args: readonly string[],
    options?: SpawnOptions,
  ) => ChildProcess
  /** Runs a program on a host to its end. @throws when it fails */
  readonly run: (host: string, command: string, args: readonly string[]) => Promise<string>
  /** The command line that runs something on a host, for programs that want to start it themselves. */
  readonly prefix: (host: string) => readonly string[]
  readonly close: () => Promise<void>
}

const ROUTER = 'wan'
const GATEWAY = '169.254.1.1'

/** Why a lab cannot be made here; undefined when it can. Tests skip by this name. */
export function labObstacle(): string | undefined {
  if (userInfo().uid !== 0) return 'needs root for network namespaces'
  return existsSync('/usr/sbin/ip') || existsSync('/sbin/ip') ? undefined : 'needs iproute2'
}

/**
 * Makes a lab. `names` maps host names to addresses on every host (their /etc/hosts).
 * Namespaces are called `<id>-<host>`; ids must be unique on the machine and short (interface names allow 15 characters).
 */
export async function openLab(
  id: string,
  hosts: readonly LabHost[],
  names: Readonly<Record<string, string>>,
): Promise<NetLab> {
  const namespace = (host: string): string => `${id}-${host}`
  const all = [ROUTER, ...hosts.map(host => host.name)]
  await removeAll(all.map(namespace))
  const hostsFile = [
    '127.0.0.1 localhost',
    '::1 localhost',
    ...Object.entries(names).map(([name, to]) => `${to} ${name}`),
  ]
  for (const host of all) {
    await ip('netns', 'add', namespace(host))
    await ip('-n', namespace(host), 'link', 'set', 'lo', 'up')
    await mkdir(`/etc/netns/${namespace(host)}`, { recursive: true })
    await writeFile(`/etc/netns/${namespace(host)}/hosts`, `${hostsFile.join('\n')}\n`)
    await writeFile(`/etc/netns/${namespace(host)}/resolv.conf`, '')
  }
  const router = namespace(ROUTER)
  await execute('ip', ['netns', 'exec', router, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward'])
  for (const host of hosts) await wire(router, namespace(host.name), host)

  const prefix = (host: string): readonly string[] => ['ip', 'netns', 'exec', namespace(host)]
  return {
    prefix,
    spawn: (host, command, args, options = {}) => {
      const [program = 'ip', ...rest] = [...prefix(host), command, ...args]
      return spawn(program, rest, options)
    },
    run: async (host, command, args) => {
      const [program = 'ip', ...rest] = [...prefix(host), command, ...args]
      return (await execute(program, rest, { maxBuffer: 16 * 1024 * 1024 })).stdout
    },
    close: () => removeAll(all.map(namespace)),
  }
}

async function wire(router: string, namespace: string, host: LabHost): Promise<void> {
  const link = `v-${host.name}`
  await ip('link', 'add', link, 'netns', router, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace)
  await ip('-n', router, 'addr', 'add', `${GATEWAY}/32`, 'dev', link)
  await ip('-n', router, 'link', 'set', link, 'up')
  await ip('-n', namespace, 'link', 'set', 'eth0', 'up')
  await ip('-n', namespace, 'route', 'add', `${GATEWAY}/32`, 'dev', 'eth0')
  for (const address of host.addresses) {
    await ip('-n', namespace, 'addr', 'add', `${address}/32`, 'dev', 'eth0')
    await ip('-n', router, 'route', 'add', `${address}/32`, 'dev', link)
  }
  const source = host.addresses[0]
  const via = ['route', 'add', 'default', 'via', GATEWAY, 'dev', 'eth0', 'onlink']
  await ip('-n', namespace, ...via, ...(source === undefined ? [] : ['src', source]))
}

async function removeAll(namespaces: readonly string[]): Promise<void> {
  for (const namespace of namespaces) {
    const pids = await execute('ip', ['netns', 'pids', namespace]).then(
      result => result.stdout.split(/\s+/).filter(Boolean),
      () => [],
    )
    for (const pid of pids) {
      try {
        process.kill(Number(pid), 'SIGKILL')
      } catch {
        // It ended by itself between the listing and now.
      }
    }
    await execute('ip', ['netns', 'del', namespace]).catch(() => undefined)
    await rm(`/etc/netns/${namespace}`, { recursive: true, force: true })
  }
}

async function ip(...args: readonly string[]): Promise<void> {
  await execute('ip', [...args])
}
