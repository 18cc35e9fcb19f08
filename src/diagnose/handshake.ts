// Why a TLS handshake broke off: the alert that the client sent, in words, and what each of them asks for.
import { makeFix, onWindows, type Fix } from './fix.ts'

/** What the client objected to. */
export type HandshakeFault =
  | 'authority'
  | 'expired'
  | 'certificate'
  | 'revoked'
  | 'name'
  | 'cipher'
  | 'version'
  | 'refused'
  | 'stalled'
  | 'hang-up'

type Fault = { readonly fault: HandshakeFault; readonly words: string; readonly looksLike: RegExp }

// Texts are those of OpenSSL; Windows sends unknown_ca and certificate_unknown for most of what it does not like.
const FAULTS: readonly Fault[] = [
  {
    fault: 'authority',
    words: 'it does not trust the certificate: the authority that signed it is unknown to it',
    looksLike: /unknown ca\b/i,
  },
  {
    fault: 'expired',
    words: 'it takes the certificate for expired, so its clock is probably wrong',
    looksLike: /certificate expired/i,
  },
  { fault: 'revoked', words: 'it takes the certificate for revoked', looksLike: /certificate revoked/i },
  {
    fault: 'certificate',
    words: 'it does not trust the certificate: its name, its chain, or its dates if its clock is behind',
    looksLike: /certificate unknown|bad certificate|unsupported certificate|certificate_/i,
  },
  {
    fault: 'name',
    words: 'it does not accept the name that it was answered for',
    looksLike: /unrecognized name/i,
  },
  {
    fault: 'version',
    words: 'it does not accept a TLS version that the gate offers',
    looksLike: /protocol version|unsupported protocol|inappropriate fallback/i,
  },
  {
    fault: 'cipher',
    words: 'it shares no cipher with the gate',
    looksLike: /no shared cipher|handshake failure|insufficient security|no suitable/i,
  },
  {
    fault: 'stalled',
    words:
      'its ClientHello came, the gate answered, and then nothing more came: large packets may be lost on the way (MTU)',
    looksLike: /did not finish the handshake in time|closed the connection during the TLS handshake/i,
  },
  {
    fault: 'refused',
    words: 'its own policy refuses the connection',
    looksLike: /access denied|user cancel/i,
  },
]

/** What a recorded problem of a handshake means. Null stands for "not known". */
export function readHandshake(problem: string | null): {
  readonly fault: HandshakeFault
  readonly words: string
} {
  if (problem === null)
    return { fault: 'hang-up', words: 'it does not trust the certificate, shares no cipher, or hangs up' }
  const known = FAULTS.find(({ looksLike }) => looksLike.test(problem))
  if (known === undefined) return { fault: 'hang-up', words: problem }
  return { fault: known.fault, words: `${known.words} (${alertOf(problem)})` }
}

/** `alert: bad certificate`, without the words of the library around it. */
function alertOf(problem: string): string {
  return problem.replace(/^(?:ssl\/tls|tlsv1|sslv3|tls) alert /i, 'its alert: ')
}

/** Whether a chain that is not complete explains it. */
export function isAboutChain(fault: HandshakeFault): boolean {
  return fault === 'authority' || fault === 'certificate' || fault === 'hang-up'
}

/** The file holds one certificate where two belong. */
function completeChain({ file, issuer }: { readonly file: string; readonly issuer: string }): Fix {
  return makeFix([
    `Put the certificate of ${issuer} behind the one in ${file}: the file that certbot calls fullchain.pem and others call bundle or chain has both. It is taken up by itself.`,
    'Then let the client try again; nothing has to be changed at the device.',
  ])
}

/** What to do about it. */
export function handshakeFix(
  fault: HandshakeFault,
  publicHost: string | null,
  gap: { readonly file: string; readonly issuer: string } | null = null,
): Fix {
  if (gap !== null && isAboutChain(fault)) return completeChain(gap)
  const host = publicHost ?? 'gate.example.com'
  const look = {
    where: 'site',
    shell: 'sh',
    command: `openssl s_client -connect ${host}:443 -servername ${host} -showcerts </dev/null`,
    before: 'Look at what arrives there, from the same network: ',
  } as const
  const chain = 'Check that certs/ holds the whole chain: the certificate first, then every intermediate one.'
  switch (fault) {
    case 'authority':
      return makeFix([
        look,
        'Another issuer than the one of the gate: a firewall there opens TLS. Exempt the name of the gate from it.',
        chain,
        onWindows(
          'device',
          'Are the root certificates of the device current? Old Windows fetches them like this: ',
          'certutil -generateSSTFromWU roots.sst; certutil -addstore -f Root roots.sst',
        ),
      ])
    case 'expired':
      return makeFix([
        onWindows('device', 'Set the clock of the device right: ', 'w32tm /resync /force; Get-Date'),
        'bin/portcullis cert shows until when the certificate of the gate is valid.',
      ])
    case 'certificate':
    case 'revoked':
    case 'name':
      return makeFix([
        look,
        onWindows(
          'device',
          'Is the clock of the device right? A certificate counts from its first day only: ',
          'w32tm /resync /force; Get-Date',
        ),
        `The name that the agent uses must stand in the certificate: it is set as server address in the agent, and should be https://${host}.`,
        chain,
      ])
    case 'version':
    case 'cipher':
      return makeFix([
        'Windows: install all updates, and take out what group policies set under "SSL Cipher Suite Order".',
        onWindows('device', 'What the device can do: ', 'Get-TlsCipherSuite | Select-Object Name'),
        'Clients before 2010 know only RSA keys: add an RSA certificate beside the ECDSA one.',
      ])
    case 'stalled':
      return packetSize(host)
    case 'refused':
    case 'hang-up':
      return makeFix([
        look,
        'Check the clock of the device and its root certificates; check that certs/ holds the whole chain.',
      ])
  }
}

/** Small packets arrive, large ones do not: a tunnel, a VPN or DSL on the way, and a firewall that drops what would say so. */
function packetSize(host: string): Fix {
  return makeFix([
    onWindows('site', 'At the site, which of these is answered? Large: ', `ping -f -l 1472 ${host}`),
    onWindows('site', 'Small: ', `ping -f -l 1200 ${host}`),
    'If only the small one is: lower the MTU of the router there (1492 for DSL, 1400 for a VPN), or let ICMP "fragmentation needed" through its firewall.',
    {
      where: 'gate',
      shell: 'sh',
      before: 'Or let the gate find the size by itself: ',
      command: 'sysctl -w net.ipv4.tcp_mtu_probing=1',
    },
    'If neither is (many firewalls drop ping), try from another network first: if it works there, it is the line of the site.',
  ])
}
