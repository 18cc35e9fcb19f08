// portcullis keys and operators: secrets come in by prompt or pipe, never by argv, and the running gate takes changes up.
import { Readable } from 'node:stream'
import test from 'ava'
import type { InputStream } from '../../src/cli/secrets.ts'
import { startBench, startRunningBench, type CliResult } from './support.ts'

test('keys are added from a pipe or generated, listed without their values, and removed', async t => {
  const bench = startBench(t)
  t.regex((await bench.cli(['keys'])).out, /There is no gateway key: nothing may attach/)
  const piped = await bench.cli(['keys', 'add', 'acme', '--max-clients', '250'], {
    input: Readable.from(['Testing1\nrest\n']),
  })
  t.is(piped.code, 0, piped.err)
  t.regex(piped.out, /Gateway key acme added\.\n.*holds from the next start/)
  const made = await bench.json(['keys', 'add', 'globex', '--generate'])
  t.regex(String(made.value['key']), /^[a-z0-9-]{30}$/)
  const list = await bench.cli(['keys', 'list'])
  t.regex(list.out, /acme +250 .*\nglobex +no limit/)
  t.notRegex(list.out, /Testing1/)
  t.is((await bench.cli(['keys', 'remove', 'acme'])).code, 0)
  t.like((await bench.json(['keys', 'list'])).value, { keys: [{ name: 'globex', maxClients: null }] })
})

test('what is called wrongly is refused with the next step', async t => {
  const bench = startBench(t)
  const said = async (words: readonly string[], input?: InputStream): Promise<string> => {
    const { code, err } = await bench.cli(words, input === undefined ? {} : { input })
    t.not(code, 0)
    return err
  }
  t.regex(await said(['keys', 'add', 'acme', 'Testing1']), /could be read by every user of this machine/)
  t.regex(await said(['keys', 'ad', 'acme']), /Did you mean: portcullis keys add\?/)
  t.regex(await said(['keys', 'add', 'acme']), /nothing to read it from/)
  t.regex(await said(['keys', 'add', 'acme'], Readable.from([])), /nothing to read it from/)
  t.regex(await said(['keys', 'add', 'acme'], Readable.from(['Test1\n'])), /8 to 256 characters/)
  t.regex(await said(['keys', 'add', 'acme', '--max-clients', '0']), /not a number of clients/)
  t.regex(await said(['keys', 'remove', 'acme']), /there is no gateway key acme/)
  t.regex(await said(['operators', 'add', 'alice']), /a new operator needs a role/)
  t.regex(await said(['operators', 'add', 'alice', '--role', 'admn']), /Did you mean --role admin\?/)
  t.regex(
    await said(['operators', 'add', 'alice', '--role', 'viewer', '--site', 'nowhere', '--generate']),
    /has no site "nowhere"/,
  )
  t.regex(
    await said(['operators', 'add', 'alice', '--role', 'viewer', '--key', 'nokey', '--generate']),
    /no gateway key nokey/,
  )
})

test('at a terminal a secret is asked for twice, without echo', async t => {
  const bench = startBench(t)
  const raw: boolean[] = []
  const type = (...texts: readonly string[]): InputStream =>
    Object.assign(Readable.from(texts), { isTTY: true, setRawMode: (on: boolean) => raw.push(on) })
  const different = await bench.cli(['keys', 'add', 'acme'], { input: type('Testing1\r', 'Testing2\r') })
  t.regex(different.err, /the two are not the same/)
  const mended = await bench.cli(['keys', 'add', 'acme'], { input: type('Testinx\u007fg1\r', 'Testing1\r') })
  t.is(mended.code, 0, mended.err)
  t.notRegex(mended.out + mended.err, /Testing1/)
  t.regex((await bench.cli(['keys', 'add', 'b'], { input: type('\u0003') })).err, /nothing was entered/)
  t.deepEqual([raw.at(0), raw.at(-1)], [true, false])
})

test('E9: a running gate takes keys and operators up at once', async t => {
  const bench = await startRunningBench(t)
  const add = await bench.cli(['keys', 'add', 'acme', '--generate'])
  t.regex(add.out, /running gate has taken it up; nobody else was disturbed/)
  const operator = (words: readonly string[]): Promise<CliResult> => bench.cli(['operators', ...words])
  t.regex(
    (await operator(['add', 'alice', '--role', 'support', '--key', 'acme', '--generate'])).out,
    /Operator alice added, support\.[^]*only time it is shown/,
  )
  t.regex((await operator(['password', 'alice', '--generate'])).out, /logins of before have ended/)
  t.regex((await operator(['list'])).out, /alice +support .* all +acme/)
  t.is((await operator(['remove', 'alice'])).code, 0)
  const events = await bench.cli(['events'])
  t.regex(events.out, /Reloading gateway keys: 1 key in force\. Added: acme\./)
  t.regex(events.out, /1 operator may log in\. New or changed: alice\./)
  t.regex(events.out, /Removed: alice/)
})

test('N13: check warns when a connector of the policy needs a key that there is not', async t => {
  const bench = startBench(t, 'gateway: { connectors: { rmm-server: { key: acme } } }')
  const check = async (): Promise<string> => (await bench.cli(['check'])).out
  t.regex(
    await check(),
    /connector rmm-server cannot attach: there is no gateway key\n[^]*keys add acme --generate/,
  )
  await bench.cli(['keys', 'add', 'other', '--generate'])
  t.regex(await check(), /there is no gateway key acme/)
  await bench.cli(['keys', 'add', 'acme', '--generate'])
  t.notRegex(await check(), /cannot attach/)
})
