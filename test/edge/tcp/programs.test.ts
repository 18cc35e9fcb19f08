// Real programs through raw TCP streams: MariaDB with a dump, ssh, socat that ends one direction first, openssl behind SNI passthrough.
import { freePort } from '../../support/free-port.ts'
import { execFileSync, spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { testAuthority, testCertificate } from '../../support/certificates.ts'
import { until } from '../../support/whole-gate.ts'
import { member, service, startStreams, stream } from './harness.ts'

const SSHD = '/usr/sbin/sshd'
const MARIADBD = '/usr/sbin/mariadbd'
const SOCAT = '/usr/bin/socat'
const isRoot = userInfo().uid === 0
// sshd started by another user than root can log in that user only.
const withSsh = isRoot && [SSHD, '/usr/bin/ssh', '/usr/bin/ssh-keygen'].every(existsSync) ? test : test.skip
const withMariadb = [MARIADBD, '/usr/bin/mariadb', '/usr/bin/mariadb-dump'].every(existsSync)
  ? test
  : test.skip
const withSocat = existsSync(SOCAT) ? test : test.skip
const withOpenssl = existsSync('/usr/bin/openssl') ? test : test.skip

/** A program of the test, killed at its end. */
function start(
  t: ExecutionContext,
  command: string,
  args: readonly string[],
): ChildProcessWithoutNullStreams {
  const child = spawn(command, args, { env: { PATH: process.env['PATH'] } })
  child.stdin.on('error', () => undefined)
  // Nobody may be left that waits for a full pipe.
  child.stderr.resume()
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  return child
}

function directoryOf(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-streams-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

async function untilAnswers(port: number, child: ChildProcessWithoutNullStreams): Promise<void> {
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended`)
    const socket = connect({ host: '127.0.0.1', port })
    const stands = await new Promise<boolean>(resolve => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    })
    socket.destroy()
    return stands
  })
}

/** Runs a client to its end. */
async function runWith(
  t: ExecutionContext,
  command: string,
  args: readonly string[],
  input: Buffer | string = '',
): Promise<{ readonly code: number | null; readonly out: Buffer; readonly err: string }> {
  const child = start(t, command, args)
  const out: Buffer[] = []
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr.on('data', chunk => (err += String(chunk)))
  child.stdin.end(input)
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, out: Buffer.concat(out), err }
}

withMariadb('MariaDB: a query and a dump of 3 MB are the same through the gate as without it', async t => {
  const directory = directoryOf(t)
  const direct = await freePort()
  const database = start(t, MARIADBD, [
    '--no-defaults',
    `--datadir=${directory}`,
    `--socket=${join(directory, 'socket')}`,
    `--pid-file=${join(directory, 'pid')}`,
    `--port=${direct}`,
    '--bind-address=127.0.0.1',
    ...(isRoot ? ['--user=root'] : []),
    ...'--skip-grant-tables --skip-innodb --skip-log-bin --default-storage-engine=Aria'.split(' '),
  ])
  await untilAnswers(direct, database)
  const { port, events } = await startStreams(t, [stream([service([member(direct)])])])
  const to = (which: number): string[] => ['--no-defaults', '-h', '127.0.0.1', '-P', String(which)]
  const made = await runWith(
    t,
    'mariadb',
    [...to(port), '-N'],
    `create database d; use d; create table t (a int, b varchar(900));
     insert into t select seq, repeat(md5(seq), 20) from seq_1_to_5000; select count(*), max(a) from t;`,
  )
  t.is(made.code, 0, made.err)
  t.is(made.out.toString(), '5000\t5000\n')
  const dump = (which: number) => runWith(t, 'mariadb-dump', [...to(which), '--skip-comments', 'd'])
  const through = await dump(port)
  t.is(through.code, 0, through.err)
  t.true(through.out.length > 3_000_000)
  t.true(through.out.equals((await dump(direct)).out))
  const closed = await events.next('stream.closed', 2)
  t.is(closed.ending, 'complete')
  t.true(closed.bytesOut > 3_000_000)
})

withSsh('ssh: a command that answers only once its input has ended, 5 MB both ways', async t => {
  const directory = directoryOf(t)
  mkdirSync('/run/sshd', { recursive: true, mode: 0o755 })
  const key = (name: string): string => {
    const file = join(directory, name)
    execFileSync('/usr/bin/ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file])
    return file
  }
  const host = key('host')
  const user = key('user')
  copyFileSync(`${user}.pub`, join(directory, 'authorized'))
  const direct = await freePort()
  const config = join(directory, 'sshd_config')
  writeFileSync(
    config,
    `Port ${direct}\nListenAddress 127.0.0.1\nHostKey "${host}"\nAuthorizedKeysFile "${join(directory, 'authorized')}"\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n`,
  )
  await untilAnswers(direct, start(t, SSHD, ['-D', '-e', '-f', config]))
  const { port } = await startStreams(t, [stream([service([member(direct)])])])
  const large = randomBytes(5_000_000)
  const options = '-F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null'
  const { code, out, err } = await runWith(
    t,
    'ssh',
    [...options.split(' '), '-i', user, '-p', String(port), 'root@127.0.0.1', 'tac -s nothing; echo over'],
    large,
  )
  t.is(code, 0, err)
  t.true(out.equals(Buffer.concat([large, Buffer.from('over\n')])))
})

withSocat('socat: either side may end first, and the other goes on', async t => {
  const large = randomBytes(3_000_000)
  const sum = createHash('sha256').update(large).digest('hex')
  const asking = await freePort()
  const answering = start(t, SOCAT, ['-t20', `TCP-LISTEN:${asking},bind=127.0.0.1,fork`, 'SYSTEM:sha256sum'])
  await untilAnswers(asking, answering)
  const first = await startStreams(t, [stream([service([member(asking)])])])
  const asked = await runWith(t, SOCAT, ['-t20', '-', `TCP:127.0.0.1:${first.port}`], large)
  t.is(asked.out.toString(), `${sum}  -\n`)
  t.like(await first.events.next('stream.closed'), { ending: 'complete', bytesIn: large.length })

  const speaking = await freePort()
  const file = join(directoryOf(t), 'received')
  const server = start(t, SOCAT, [
    '-t20',
    `TCP-LISTEN:${speaking},bind=127.0.0.1,fork`,
    `SYSTEM:printf enough!!CREATE:${file}`,
  ])
  await untilAnswers(speaking, server)
  const second = await startStreams(t, [stream([service([member(speaking)])])])
  const client = connect({ host: '127.0.0.1', port: second.port, allowHalfOpen: true })
  let heard = ''
  client.on('data', chunk => (heard += String(chunk)))
  await once(client, 'end')
  t.is(heard, 'enough')
  client.end(large)
  t.like(await second.events.next('stream.closed'), {
    ending: 'complete',
    bytesIn: large.length,
    bytesOut: 6,
  })
  await until(() => readFileSync(file).equals(large))
})

withOpenssl('openssl s_server behind SNI passthrough: its own certificate, and words both ways', async t => {
  const directory = directoryOf(t)
  const { cert, key } = await testCertificate(['mesh.example.test'])
  const file = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text)
    return join(directory, name)
  }
  const server = start(t, 'openssl', [
    ...'s_server -accept 127.0.0.1:0 -rev -cert'.split(' '),
    file('cert.pem', cert),
    '-key',
    file('key.pem', key),
  ])
  let said = ''
  server.stdout.on('data', chunk => (said += String(chunk)))
  await until(() => /ACCEPT \S+:\d+/.test(said))
  const direct = Number(/ACCEPT \S+:(\d+)/.exec(said)?.[1])
  const services = [service([member(direct)], { start: 'tls', names: ['mesh.example.test'] })]
  const { port, events } = await startStreams(t, [stream(services, { kind: 'tls' })])
  const client = start(t, 'openssl', [
    ...`s_client -connect 127.0.0.1:${port} -servername mesh.example.test -CAfile`.split(' '),
    file('ca.pem', await testAuthority()),
    ...'-verify_return_error -verify_hostname mesh.example.test'.split(' '),
  ])
  let heard = ''
  client.stdout.on('data', chunk => (heard += String(chunk)))
  client.stdin.write('stressed\n')
  await until(() => heard.includes('desserts'))
  t.regex(heard, /Verify return code: 0 \(ok\)/)
  t.like(await events.next('stream.opened'), { serverName: 'mesh.example.test', negotiated: null })
  client.stdin.end()
  t.is((await events.next('stream.closed')).ending, 'complete')
})
