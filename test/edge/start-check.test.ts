// Settings under which the gate must not start.
import test from 'ava'
import { unsafeRuntime } from '../../src/edge/start-check.ts'

test('trap 10: NODE_OPTIONS with --tls-keylog is a reason not to start, however it is written', t => {
  for (const options of [
    '--tls-keylog=/tmp/keys',
    '--max-old-space-size=512 --tls-keylog /tmp/keys',
    '"--tls-keylog=/tmp/keys"',
    '--tls_keylog=/tmp/keys',
    '--trace-tls',
    '--tls-min-v1.0',
  ])
    t.is(unsafeRuntime(options, [])?.code, 'runtime-unsafe', options)
  t.is(unsafeRuntime(undefined, ['--tls-keylog=/tmp/keys'])?.code, 'runtime-unsafe')
  t.is(unsafeRuntime('--max-old-space-size=512', ['--enable-source-maps']), undefined)
  t.is(unsafeRuntime(undefined, []), undefined)
})
