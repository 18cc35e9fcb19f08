// TLS versions: wire codes, order, and what is not a version.
import test from 'ava'
import { strongestTls, TLS_VERSIONS, tlsRank, tlsVersionFromCode } from '../../src/net/tls-version.ts'

test('codes map to names in order; SSL 3.0 and GREASE map to nothing', t => {
  t.deepEqual([0x0301, 0x0302, 0x0303, 0x0304].map(tlsVersionFromCode), [...TLS_VERSIONS])
  t.deepEqual([0x0300, 0x0a0a, 0x7f1c, 0x0305].map(tlsVersionFromCode), [
    undefined,
    undefined,
    undefined,
    undefined,
  ])
  t.deepEqual(TLS_VERSIONS.map(tlsRank), [0, 1, 2, 3])
  t.is(strongestTls(['TLSv1.1', 'TLSv1.3', 'TLSv1']), 'TLSv1.3')
  t.is(strongestTls([]), undefined)
})
