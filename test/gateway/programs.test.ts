// Real programs behind `connect`: OpenSSH over ProxyCommand, on two PCs behind one address.
import { freePort } from '../support/free-port.ts'
import { spawn, execFileSync, type ChildProcess } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ROOT } from '../cli/support.ts'
import { nextTurn, PASSWORD, startGatewayBench } from './support.ts'

const SSHD = '/usr/sbin/sshd'
const hasSsh = existsSync(SSHD) && existsSync('/usr/bin/ssh') && existsSync('/usr/bin/ssh-keygen')
// sshd started by another user than root can log in that user only, and needs no directory for its privileges.
const isRoot = userInfo().uid === 0
const withSsh = hasSsh && isRoot ? test : test.skip

async function answers(port: number, child: ChildProcess): Promise<void> {
  while (child.exitCode === null) {
    const socket = connect({ host: '127.0.0.1', port })
    const stands = await new Promise<boolean>(resolve => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    })
    socket.destroy()
    if (stands) return
    await nextTurn()
  }
  throw new Error('the program ended')
}

/** An SSH server of its own, with its own keys. */
async function startSshd(t: ExecutionContext, directory: string): Promise<number> {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  mkdirSync('/run/sshd', { recursive: true, mode: 0o755 })
  const key = (name: string): string => {
    const file = join(directory, name)
    execFileSync('/usr/bin/ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file])
    return file
  }
  const host = key('host')
  copyFileSync(`${key('user')}.pub`, join(directory, 'authorized'))
  const port = await freePort()
  const config = join(directory, 'sshd_config')
  writeFileSync(
    config,
    `Port ${port}\nListenAddress 127.0.0.1\nHostKey "${host}"\nAuthorizedKeysFile "${join(directory, 'authorized')}"\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n`,
  )
  const child = spawn(SSHD, ['-D', '-e', '-f', config], { stdio: 'ignore' })
  t.teardown(() => child.kill())
  await answers(port, child)
  return port
}

withSsh(
  'ssh with ProxyCommand: login by key, a command, and 20 MB both ways, on two PCs behind one address',
  async t => {
    const bench = await startGatewayBench(t)
    await bench.addKey('acme', 'Testing1')
    await bench.addOperator('alice', PASSWORD)
    const { words, env } = await bench.remote({})
    const large = randomBytes(20_000_000)
    const sum = createHash('sha256').update(large).digest('hex')
    await Promise.all(
      ['PC-1', 'PC-2'].map(async name => {
        const directory = join(bench.root, name)
        // R4: the same service of two PCs behind the same public address.
        await bench.client(name, 'Testing1', { ssh: await startSshd(t, directory) })
        const proxy = [join(ROOT, 'bin/portcullis'), 'connect', `${name}/ssh`, '--stdio', ...words]
          .map(word => `'${word}'`)
          .join(' ')
        const ssh = spawn(
          '/usr/bin/ssh',
          [
            ...`-F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null`.split(
              ' ',
            ),
            '-i',
            join(directory, 'user'),
            '-o',
            `ProxyCommand=${proxy}`,
            `root@${name}`,
            `sha256sum && echo of ${name}`,
          ],
          {
            env: { PATH: process.env['PATH'], NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'], ...env },
            stdio: ['pipe', 'pipe', 'pipe'],
          },
        )
        let out = ''
        let err = ''
        ssh.stdout.on('data', chunk => (out += String(chunk)))
        ssh.stderr.on('data', chunk => (err += String(chunk)))
        ssh.stdin.end(large)
        const [code] = (await once(ssh, 'close')) as [number]
        t.is(code, 0, err)
        t.regex(out, new RegExp(`^${sum} .*\nof ${name}\n$`))
      }),
    )
    const log = await bench.gatewayLog()
    t.true(log.includes('Control alice connected to Client PC-1'))
    t.true(log.includes('Control alice connected to Client PC-2'))
    t.false(readFileSync(join(bench.root, 'var/access.json'), 'utf8').includes(PASSWORD))
  },
)
