// MeshCentral from npm: installed on demand beside the project, configured for a gate in front of it, driven through its own client.
import { execFile, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { copyFile, chmod, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { NetLab } from '../support/netlab.ts'
import { waitForLine } from './wait.ts'

const execute = promisify(execFile)

/** The version that the steps were tried with. */
export const MESHCENTRAL_VERSION = '1.1.55'

const PASSWORD = 'Practice-1234!'
const USER = 'admin'

/** Credentials of the practice installation. */
export const ACCOUNT = { user: USER, password: PASSWORD } as const

/** Installs MeshCentral with npm into `directory`, unless it is there already. */
export async function installMeshCentral(directory: string): Promise<string> {
  const home = join(directory, 'node_modules/meshcentral')
  if (!existsSync(join(home, 'meshcentral.js'))) {
    await mkdir(directory, { recursive: true })
    await writeFile(join(directory, 'package.json'), '{"private":true}\n')
    const args = [
      'install',
      '--ignore-scripts',
      '--omit=optional',
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
    ]
    await execute('npm', [...args, `meshcentral@${MESHCENTRAL_VERSION}`], {
      cwd: directory,
      maxBuffer: 1 << 26,
    })
  }
  return home
}

/** A MeshCentral server on a host of the lab. */
export type MeshServer = {
  readonly stop: () => Promise<void>
  /** Runs its command line client on a host, through the public name. */
  readonly control: (host: string, args: readonly string[]) => Promise<string>
}

/** Configures and starts the server. `gate` is the address from which the gate connects, `name` the public name. */
export async function startMeshCentral(
  lab: NetLab,
  where: { readonly host: string; readonly address: string; readonly port: number },
  paths: { readonly home: string; readonly data: string; readonly node: string },
  outside: { readonly gate: string; readonly name: string },
): Promise<MeshServer> {
  await rm(paths.data, { recursive: true, force: true })
  await mkdir(paths.data, { recursive: true })
  const settings = {
    cert: outside.name,
    WANonly: true,
    portBind: where.address,
    port: where.port,
    aliasPort: 443,
    redirPort: 0,
    mpsPort: 0,
    tlsOffload: outside.gate,
    trustedProxy: outside.gate,
    selfUpdate: false,
    agentPing: 60,
  }
  const domain = {
    title: 'MeshCentral behind Portcullis',
    newAccounts: false,
    certUrl: `https://${outside.name}/`,
  }
  await writeFile(
    join(paths.data, 'config.json'),
    JSON.stringify({ settings, domains: { '': domain } }, null, 2),
  )
  const program = [join(paths.home, 'meshcentral.js'), '--datapath', paths.data]
  await lab.run(where.host, paths.node, [...program, '--createaccount', USER, '--pass', PASSWORD])
  await lab.run(where.host, paths.node, [...program, '--adminaccount', USER])
  const child = lab.spawn(where.host, paths.node, program, { stdio: ['ignore', 'pipe', 'pipe'] })
  await waitForLine(child, /HTTP server running on port/, 120_000)
  return {
    stop: () => stopChild(child),
    control: (host, args) =>
      lab.run(host, paths.node, [
        join(paths.home, 'meshctrl.js'),
        ...args,
        '--url',
        `wss://${outside.name}`,
        '--loginuser',
        USER,
        '--loginpass',
        PASSWORD,
      ]),
  }
}

/** Starts MeshCentral's native Linux agent in its own directory on a host. */
export async function startMeshAgent(
  lab: NetLab,
  host: string,
  home: string,
  directory: string,
  settings: string,
): Promise<ChildProcess> {
  await mkdir(directory, { recursive: true })
  const binary = join(directory, 'meshagent')
  await copyFile(
    join(home, 'agents', process.arch === 'arm64' ? 'meshagent_aarch64' : 'meshagent_x86-64'),
    binary,
  )
  await chmod(binary, 0o755)
  await writeFile(join(directory, 'meshagent.msh'), settings)
  return lab.spawn(host, 'sh', ['-c', `cd '${directory}' && exec ./meshagent`], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

/** Ends a child and waits until it is gone. */
export async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise<void>(resolve => void child.once('exit', () => resolve()))
  child.kill('SIGTERM')
  const force = setTimeout(() => child.kill('SIGKILL'), 5_000)
  await gone
  clearTimeout(force)
}
