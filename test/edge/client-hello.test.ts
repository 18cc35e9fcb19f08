// The ClientHello parser: real hellos, every segmentation, bounds, and bytes from an attacker.
import test from 'ava'
import * as fc from 'fast-check'
import { offeredVersions, readClientHello, type HelloRead } from '../../src/edge/client-hello.ts'
import { readOpening } from '../../src/edge/opening.ts'
import { captureHello } from './gate-harness.ts'

const MAX = 16_384

/** Wraps message bytes into TLS records of the given size. */
function records(message: Uint8Array, size: number): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < message.length; at += size) {
    const piece = message.subarray(at, at + size)
    parts.push(Buffer.from([22, 3, 1, piece.length >> 8, piece.length & 255]), Buffer.from(piece))
  }
  return Buffer.concat(parts)
}

/** What a connection sees: the first final answer while the bytes arrive in segments. */
function readInSegments(bytes: Buffer, sizes: readonly number[]): HelloRead {
  let end = 0
  for (let turn = 0; end < bytes.length; turn++) {
    end = Math.min(bytes.length, end + (sizes[turn % sizes.length] ?? 1))
    const read = readClientHello(bytes.subarray(0, end), MAX)
    if (read.kind !== 'incomplete') return read
  }
  return readClientHello(bytes, MAX)
}

function extension(type: number, body: readonly number[]): number[] {
  return [type >> 8, type & 255, body.length >> 8, body.length & 255, ...body]
}

/** A minimal ClientHello message with the given extensions. */
function message(extensions: readonly number[], version = 0x0303): Buffer {
  const body = [
    version >> 8,
    version & 255,
    ...Array.from({ length: 32 }, () => 7),
    0,
    0,
    2,
    0x13,
    0x01,
    1,
    0,
    ...(extensions.length === 0 ? [] : [extensions.length >> 8, extensions.length & 255, ...extensions]),
  ]
  return Buffer.from([1, 0, body.length >> 8, body.length & 255, ...body])
}

function serverName(text: string): number[] {
  const bytes = [...Buffer.from(text, 'latin1')]
  const length = bytes.length
  return extension(0, [0, length + 3, 0, 0, length, ...bytes])
}

test('a real ClientHello gives name, versions, ciphers and protocols', async t => {
  const bytes = await captureHello({ servername: 'RMM.Example.test', ALPNProtocols: ['h2', 'http/1.1'] })
  const read = readClientHello(bytes, MAX)
  if (read.kind !== 'hello') return t.fail(JSON.stringify(read))
  t.is(read.hello.serverName, 'rmm.example.test')
  t.deepEqual(offeredVersions(read.hello), ['TLSv1.3', 'TLSv1.2'])
  t.deepEqual(read.hello.alpn, ['h2', 'http/1.1'])
  t.true(read.hello.cipherSuites.includes(0x1301))
  t.true(read.hello.signatureAlgorithms.length > 3)
})

test('trap 9: a ClientHello byte by byte and over several records reads the same; a post-quantum key share makes it long', async t => {
  const bytes = await captureHello({ servername: 'rmm.example.test', ecdhCurve: 'X25519MLKEM768:X25519' })
  t.true(bytes.length > 1_300, `${bytes.length} bytes`)
  const whole = readClientHello(bytes, MAX)
  t.is(whole.kind, 'hello')
  t.deepEqual(readInSegments(bytes, [1]), whole)
  for (const size of [1_000, 100, 40]) {
    const cut = records(bytes.subarray(5), size)
    t.deepEqual(readClientHello(cut, MAX), whole, `records of ${size} bytes`)
    t.deepEqual(readInSegments(cut, [1]), whole)
  }
})

test('trap 9: more than 64 records or 16 KiB is refused as soon as it shows', t => {
  const many = records(message(serverName('a'.repeat(200))), 3)
  const read = readClientHello(many, MAX)
  t.deepEqual(read, { kind: 'too-large', problem: 'more than 64 TLS records' })
  const long = Buffer.from([22, 3, 1, 0x40, 0, 1, 0, 0x40, 1])
  t.is(readClientHello(long, MAX).kind, 'too-large')
  const justFits = records(message(extension(21, [...Buffer.alloc(16_000)])), 16_384)
  t.is(readClientHello(justFits, MAX).kind, 'hello')
})

test('server names: case and trailing dot are folded; what no host name holds is refused', t => {
  const nameOf = (text: string): unknown => {
    const read = readClientHello(records(message(serverName(text)), 16_000), MAX)
    return read.kind === 'hello' ? read.hello.serverName : read.kind
  }
  t.is(nameOf('RMM.Example.Test.'), 'rmm.example.test')
  t.is(nameOf('192.0.2.1'), '192.0.2.1')
  for (const bad of ['', '.', 'a b', 'a/b', 'a\0b', 'ä.test', '%2e', "';--"])
    t.is(nameOf(bad), 'invalid', bad)
})

test('an extension that decides something may not be there twice', t => {
  const twice = [...serverName('a.test'), ...serverName('b.test')]
  t.deepEqual(readClientHello(records(message(twice), 16_000), MAX), {
    kind: 'invalid',
    problem: 'an extension that is there twice',
  })
})

test('offered versions: supported_versions wins, GREASE and SSL 3.0 do not count, the old field is a maximum', t => {
  const offered = (extensions: readonly number[], version: number): unknown => {
    const read = readClientHello(records(message(extensions, version), 16_000), MAX)
    return read.kind === 'hello' ? offeredVersions(read.hello) : read
  }
  t.deepEqual(offered([], 0x0301), ['TLSv1'])
  t.deepEqual(offered([], 0x0300), [])
  t.deepEqual(offered([], 0x0304), ['TLSv1.2'])
  t.deepEqual(offered(extension(43, [6, 0x0a, 0x0a, 3, 3, 3, 4]), 0x0303), ['TLSv1.3', 'TLSv1.2'])
  t.deepEqual(offered(extension(43, [2, 3, 2]), 0x0303), ['TLSv1.1'])
})

test('a hello in SSL 2.0 framing is read, as old Windows sends it', t => {
  const ciphers = [0, 0, 0x2f, 0, 0, 0x35, 1, 0, 0x80]
  const body = [1, 3, 1, 0, ciphers.length, 0, 0, 0, 16, ...ciphers, ...Array.from({ length: 16 }, () => 9)]
  const bytes = Buffer.from([0x80, body.length, ...body])
  const read = readClientHello(bytes, MAX)
  if (read.kind !== 'hello') return t.fail(JSON.stringify(read))
  t.deepEqual(offeredVersions(read.hello), ['TLSv1'])
  t.deepEqual(read.hello.cipherSuites, [0x2f, 0x35])
  t.deepEqual(readInSegments(bytes, [1]), read)
})

test('plain text is told apart from TLS and named', t => {
  const seen = (text: string): unknown => readOpening(Buffer.from(text, 'latin1'), MAX)
  t.like(seen('GET / HTTP/1.1\r\n'), {
    reason: 'plaintext-on-tls',
    saw: 'plain HTTP',
    answer: { kind: 'http' },
  })
  t.like(seen('SSH-2.0-OpenSSH'), { saw: 'SSH', answer: { kind: 'none' } })
  t.like(seen('\x03\0\0\x13\x0e'), { saw: 'Remote Desktop (RDP)' })
  t.like(seen('PROXY TCP4 1.2.3.4'), { reason: 'plaintext-on-tls' })
  t.like(seen('hello world!'), { saw: 'bytes of no known protocol' })
  t.deepEqual(seen('GE'), { kind: 'incomplete' })
  t.like(seen('\x15\x03\x01\0\x02\x02\x46'), { reason: 'hello-invalid' })
})

test('random and mutated hellos never throw, stay bounded, and read the same however they are cut', async t => {
  const real = await captureHello({ servername: 'rmm.example.test', ALPNProtocols: ['http/1.1'] })
  const mutated = fc
    .tuple(
      fc.array(fc.tuple(fc.nat(real.length - 1), fc.nat(255)), { maxLength: 6 }),
      fc.nat(real.length),
      fc.integer({ min: 4, max: 600 }),
    )
    .map(([changes, cut, size]) => {
      const copy = Buffer.from(real)
      for (const [at, value] of changes) copy[at] = value
      const whole = size > 550 ? copy : records(copy.subarray(5), size)
      return cut % 3 === 0 ? whole.subarray(0, cut) : whole
    })
  const random = fc.uint8Array({ maxLength: 400 }).map(bytes => Buffer.from([22, 3, 1, ...bytes]))
  const free = fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes))
  const sizes = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(fc.oneof(mutated, random, free), sizes, (bytes, cuts) => {
      const whole = readClientHello(bytes, MAX)
      t.deepEqual(readInSegments(bytes, cuts), whole)
      const opening = readOpening(bytes, MAX)
      t.true(['incomplete', 'hello', 'refused'].includes(opening.kind))
      // Whatever follows a final answer does not change it.
      if (whole.kind !== 'incomplete')
        t.deepEqual(readClientHello(Buffer.concat([bytes, Buffer.alloc(50, 0x16)]), MAX), whole)
    }),
    { numRuns: 1_500 },
  )
})

test('no stream of bytes stays incomplete for ever', t => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 4, maxLength: 40 }), start => {
      const flood = Buffer.concat([Buffer.from(start), Buffer.alloc(64 * (16_640 + 5), 0x16)])
      t.not(readClientHello(flood, MAX).kind, 'incomplete')
    }),
    { numRuns: 100 },
  )
})
