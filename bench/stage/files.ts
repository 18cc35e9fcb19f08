// The files that a run shares between all peers: certificate, key, client TLS settings, country database.
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { testCertificate } from '../../test/support/certificates.ts'
import { HOST } from './namespace.ts'

/** Where the shared files are. */
export type SharedFiles = { readonly certFile: string; readonly keyFile: string; readonly geoFile: string }

// One cipher suite and group from the client's side makes every peer do the same cryptography.
const CLIENT_TLS = `openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = tls
[tls]
MinProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
`

/** Writes them into `dir`; the certificate is ECDSA P-256. */
export async function writeSharedFiles(dir: string): Promise<SharedFiles> {
  const { cert, key } = await testCertificate([HOST])
  const certFile = join(dir, 'cert.pem')
  const keyFile = join(dir, 'key.pem')
  writeFileSync(certFile, cert)
  writeFileSync(keyFile, key, { mode: 0o600 })
  writeFileSync(join(dir, 'openssl.cnf'), CLIENT_TLS)
  const geoFile = createRequire(import.meta.url).resolve(
    '@ip-location-db/geo-whois-asn-country-mmdb/geo-whois-asn-country.mmdb',
  )
  return { certFile, keyFile, geoFile }
}
