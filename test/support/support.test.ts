// The test certificates really work: a TLS handshake verifies against the test authority.
import { connect, createServer, type TLSSocket } from 'node:tls'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import test from 'ava'
import { testAuthority, testCertificate } from './certificates.ts'

for (const type of ['ecdsa', 'rsa'] as const) {
  test(`a ${type} test certificate is accepted by a verifying client`, async t => {
    const { cert, key } = await testCertificate(['rmm.example.test'], { type })
    const server = createServer({ cert, key }, socket => socket.end('hello'))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const client: TLSSocket = connect({
      host: '127.0.0.1',
      port,
      servername: 'rmm.example.test',
      ca: await testAuthority(),
    })
    await once(client, 'secureConnect')
    t.true(client.authorized)
    client.destroy()
    server.close()
  })
}
