// The closed set of refusal reasons: metric label, event field, documentation heading and what the client is told.

import type { ReasonDefinition } from './reason-definition.ts'

const define = <K extends string>(table: Record<K, ReasonDefinition>): Record<K, ReasonDefinition> => table

/** Every reason for which Portcullis refuses anything. */
export const REASONS = define({
  'proxy-header-missing': {
    phase: 'accept',
    because: 'a configured load balancer connected without a PROXY protocol header',
    remedy: 'Switch PROXY protocol on at the load balancer, or remove its address from loadBalancers.',
  },
  'proxy-header-invalid': {
    phase: 'accept',
    because: 'the PROXY protocol header of the load balancer could not be read',
    remedy: 'Check that the load balancer sends PROXY protocol version 1 or 2 before the TLS bytes.',
  },
  banned: {
    phase: 'accept',
    because: 'the address is banned',
    remedy: 'Lift the ban with `portcullis unban <address>`, or allow the address.',
    alert: 'access_denied',
    status: 403,
  },
  'connection-limit-source': {
    phase: 'accept',
    because: 'the address has too many connections open at once',
    remedy: 'Raise limits.connectionsPerSource, or give the site its own connections limit.',
    alert: 'access_denied',
  },
  'connection-limit-total': {
    phase: 'accept',
    because: 'the gate has reached its total number of connections',
    remedy: 'Raise limits.connections and the file limit of the service, or find out who holds them.',
    alert: 'internal_error',
  },
  'country-refused': {
    phase: 'accept',
    because: 'no part of the server is open to the country of the address',
    remedy: 'Add the country to the site or to the class, or record the address as a site.',
    alert: 'access_denied',
    status: 403,
  },
  'country-unknown': {
    phase: 'accept',
    because: 'no country is known for the address',
    remedy: 'Record the address as a site, add a geo override, or set geo.unknown to allow.',
    alert: 'access_denied',
    status: 403,
  },
  'network-refused': {
    phase: 'accept',
    because: 'the address is private, CGNAT or loopback and the policy refuses those',
    remedy: 'Record the address as a site, or change geo.private, geo.cgnat or geo.loopback.',
    alert: 'access_denied',
    status: 403,
  },
  'geo-unavailable': {
    phase: 'accept',
    because: 'no country database is loaded, so the country of the address cannot be known',
    remedy: 'Restore a database in geoip/ or set geo.unavailable to allow until it is back.',
    alert: 'internal_error',
    status: 403,
  },
  'hello-timeout': {
    phase: 'hello',
    because: 'the client connected but did not finish its TLS ClientHello in time',
    remedy: 'A port test looks like this and is harmless; a real client that does this has network trouble.',
  },
  'hello-invalid': {
    phase: 'hello',
    because: 'the first bytes were TLS but not a valid ClientHello',
    remedy: 'Look for a middlebox at the site that rewrites TLS.',
    alert: 'decode_error',
  },
  'hello-too-large': {
    phase: 'hello',
    because: 'the ClientHello was longer than any real client sends',
    remedy: 'No real client does this; if one does, report its name and version.',
    alert: 'decode_error',
  },
  'plaintext-on-tls': {
    phase: 'hello',
    because: 'the client spoke plain text on a TLS port',
    remedy: 'Set the client or its template to https://, or move it to the TLS port.',
    status: 400,
  },
  'name-missing': {
    phase: 'hello',
    because: 'the client named no host (no SNI) and the listener requires a name',
    remedy: 'Set withoutName on the listener, or update the client so that it sends SNI.',
    alert: 'unrecognized_name',
  },
  'name-unknown': {
    phase: 'hello',
    because: 'the client asked for a host name that the gate does not serve',
    remedy: 'Correct the server address in the agent template, or add the host to names.',
    alert: 'unrecognized_name',
    status: 421,
  },
  'tls-version-too-low': {
    phase: 'hello',
    because: 'the client offers only TLS versions below the minimum',
    remedy: 'Switch TLS 1.2 on at the device, or add a legacy TLS exception with an end date to its site.',
    alert: 'protocol_version',
    status: 403,
  },
  'upstream-down': {
    phase: 'hello',
    because:
      'every server behind this name is down, and agents switch to their secondary address faster on a reset',
    remedy: 'Bring the RMM server back; agents return by themselves.',
  },
  'tls-version-class': {
    phase: 'request',
    because: 'this class of traffic demands a newer TLS version than the connection has',
    remedy: 'Use a current client, or lower tls for the class.',
    status: 403,
  },
  'tls-version-own': {
    phase: 'request',
    because: 'connectors and operators must use TLS 1.3',
    remedy: 'Use a current connector; something between it and the gate may hold TLS down.',
    status: 426,
  },
  'framing-invalid': {
    phase: 'request',
    because: 'the request could be read differently by two parsers',
    remedy: 'No correct client sends this; look for an attack or a broken middlebox.',
    status: 400,
  },
  'request-invalid': {
    phase: 'request',
    because: 'the request is not valid HTTP/1.1',
    remedy: 'No correct client sends this; look for an attack or a broken middlebox.',
    status: 400,
  },
  'request-timeout': {
    phase: 'request',
    because: 'the client did not send its whole request head in time',
    remedy: 'A slow link needs a larger limits.headMs; an attacker holds connections like this.',
    status: 408,
  },
  'head-too-large': {
    phase: 'request',
    because: 'the request line and headers are larger than the limit',
    remedy: 'Raise limits.headBytes if a real client needs it.',
    status: 431,
  },
  'target-invalid': {
    phase: 'request',
    because:
      'the request target has a form that must not be passed on, or that two servers could read differently',
    remedy: 'No correct client sends this; look for an attack.',
    status: 400,
  },
  'host-unknown': {
    phase: 'request',
    because: 'the Host header names a host that the gate does not serve',
    remedy: 'Correct the address at the client, or add the host to names.',
    status: 421,
  },
  'host-mismatch': {
    phase: 'request',
    because: 'the Host header and the TLS server name differ',
    remedy: 'Open a connection per name; no correct client mixes them without HTTP/2.',
    status: 421,
  },
  'method-refused': {
    phase: 'request',
    because: 'the method is not among those that this class accepts',
    remedy: 'Add the method to limits.methods if the product needs it.',
    status: 405,
  },
  'class-closed': {
    phase: 'request',
    because: 'the policy closes this part of the server',
    remedy: 'Open the class, choose another deployment model, or use the direct address.',
    status: 403,
  },
  'class-source': {
    phase: 'request',
    because: 'this part of the server is open to trusted addresses only',
    remedy: 'Add the address to trusted, or record it as a site with that access.',
    status: 403,
  },
  'class-country': {
    phase: 'request',
    because: 'this part of the server is not open to the country of the address',
    remedy: 'Add the country to the class or to the site.',
    status: 403,
  },
  'class-key': {
    phase: 'request',
    because: 'this part of the server needs a key that the request does not carry',
    remedy: 'Use the link or header with the key, or add the address to the key exceptions.',
    status: 403,
  },
  'class-window': {
    phase: 'request',
    because: 'this part of the server is open at other times only',
    remedy: 'Wait for the window, or widen windows of the class.',
    status: 403,
  },
  rule: {
    phase: 'request',
    because: 'a protection rule recognised an attack',
    remedy: 'If the request is legitimate, add a scoped exception for this rule.',
    alert: 'access_denied',
    status: 403,
  },
  'body-too-large': {
    phase: 'body',
    because: 'the request body is larger than the limit of its class',
    remedy: 'Raise maxBodyBytes of the class if real traffic needs it.',
    status: 413,
  },
  'body-unread': {
    phase: 'body',
    because:
      'the request body is longer than what rules can look at, and this class passes on nothing unseen',
    remedy:
      'If real traffic needs it, set limits.whenUnread of the class to record, or raise limits.inspectSize.',
    status: 413,
  },
  'body-coding': {
    phase: 'body',
    because: 'rules cannot read the content coding of the body, and this class passes on nothing unseen',
    remedy: 'Send the body without compression or as gzip; or set limits.whenUnread of the class to record.',
    status: 415,
  },
  'body-too-slow': {
    phase: 'body',
    because: 'the body arrived more slowly than bodies may that are held for rules',
    remedy: 'An attacker holds memory like this; for clients on very slow lines lower limits.heldRate.',
    status: 408,
  },
  'inspection-full': {
    phase: 'body',
    because: 'too many bodies are being looked at at once, and this class passes on nothing unseen',
    remedy:
      'Raise limits.heldMemory, or find out who sends so much: metrics and events name class and address.',
    status: 503,
  },
  'websocket-invalid': {
    phase: 'request',
    because: 'the upgrade request is not a valid WebSocket handshake',
    remedy: 'No correct client sends this; look for an attack or a broken middlebox.',
    status: 400,
  },
  'message-invalid': {
    phase: 'message',
    because: 'the client broke the WebSocket protocol in a message that rules look at',
    remedy: 'No correct client sends this; look for an attack or a broken middlebox.',
  },
  'message-unread': {
    phase: 'message',
    because: 'rules cannot read a WebSocket message whole, and this class passes on nothing unseen',
    remedy:
      'If real traffic needs it, set limits.whenUnread of the class to record, or raise limits.messageSize.',
  },
  'message-too-slow': {
    phase: 'message',
    because: 'a WebSocket message arrived more slowly than messages may that are held for rules',
    remedy: 'An attacker holds memory like this; for clients on very slow lines lower limits.heldRate.',
  },
  'requests-limit': {
    phase: 'request',
    because: 'the address has too many requests of this class open at once',
    remedy: 'Raise concurrentPerSource of the class.',
    status: 429,
  },
  'rate-limited': {
    phase: 'request',
    because: 'this came too often, and a rule that counts lets no more of it pass for now',
    remedy:
      'Wait as long as Retry-After says; if the traffic is legitimate, raise the rate of the rule or except the site.',
    status: 429,
  },
  'stream-limit-source': {
    phase: 'accept',
    because: 'the address has too many streams open at once on this listener',
    remedy:
      'Raise connectionsPerSource of the stream: products open two sockets for each user, and a whole office may stand behind one address.',
    alert: 'access_denied',
  },
  'stream-limit-site': {
    phase: 'accept',
    because: 'the site has too many streams open at once on this listener',
    remedy: 'Raise connectionsPerSite of the stream, or find out who holds them.',
    alert: 'access_denied',
  },
  'stream-limit-total': {
    phase: 'accept',
    because: 'the stream listener has reached its number of connections',
    remedy: 'Raise connections of the stream and the file limit of the service, or find out who holds them.',
    alert: 'internal_error',
  },
  'stream-limit-class': {
    phase: 'accept',
    because: 'the address has too many streams of this class open at once',
    remedy: 'Raise limits.concurrentPerSource of the class, in general or for the site.',
    alert: 'access_denied',
  },
  'port-internal': {
    phase: 'accept',
    because: 'this port is for trusted addresses only and must not be reachable from the internet',
    remedy: 'Use it over a VPN, or add the address to trusted if it is your own.',
    alert: 'access_denied',
  },
  'source-not-invited': {
    phase: 'accept',
    because: 'this port is open to other addresses only, for a while and for one invitation',
    remedy:
      'Make the invitation again with --from naming this address too, or without --from; `portcullis invitations list` says who it is for.',
    alert: 'access_denied',
  },
  'pc-away': {
    phase: 'accept',
    because: 'the PC that this port leads to for a while does not answer',
    remedy:
      'Is it switched on, is the invitation still open on its screen, and does its firewall let the gate in? Otherwise make a new invitation.',
  },
  'tls-on-plain': {
    phase: 'hello',
    because: 'the client spoke TLS on a port behind which nothing speaks TLS',
    remedy:
      'Switch TLS (SSL) off at the client, or on at the server and at every other client: the setting must be the same everywhere.',
    alert: 'access_denied',
  },
  'service-unknown': {
    phase: 'hello',
    because: 'what the client sent first belongs to no service of this listener',
    remedy: 'Add the service to the stream, or send the client to the port of its own product.',
    status: 400,
  },
  'netsupport-elsewhere': {
    phase: 'hello',
    because: 'a NetSupport client called here, and no NetSupport gateway is meant to be on this listener',
    remedy:
      'Nobody of yours uses NetSupport? Then look at the device: attackers use this program as a remote-control tool. Otherwise add a stream with profile netsupport.',
    status: 403,
  },
  'flow-limit-source': {
    phase: 'accept',
    because: 'the address has too many heartbeat flows open at once',
    remedy: 'Raise flowsPerSource of the heartbeats listener if so many agents stand behind one address.',
  },
  'flow-limit-total': {
    phase: 'accept',
    because: 'the heartbeats listener has reached its number of flows',
    remedy:
      'Raise flows of the heartbeats listener and the file limit of the service, or find out who sends.',
  },
  'flow-rate-source': {
    phase: 'accept',
    because: 'the address opens new heartbeat flows faster than it may',
    remedy:
      'Nothing is to be done when a whole site has just come back: its agents get in with their next heartbeats. Otherwise raise newFlowsPerSource of the heartbeats listener.',
  },
  'flow-rate-total': {
    phase: 'accept',
    because: 'the heartbeats listener opens as many new flows per second as it may',
    remedy:
      'Somebody may send from forged addresses: sites of the policy, and addresses that have had answers, have places of their own. Raise newFlows of the heartbeats listener if so many agents are yours.',
  },
  'datagram-too-large': {
    phase: 'accept',
    because: 'the datagram is larger than heartbeats are',
    remedy: 'Raise datagramSize of the heartbeats listener if the RMM product sends such datagrams.',
  },
  draining: {
    phase: 'accept',
    because: 'the gate is shutting down',
    remedy: 'The client comes back by itself when the gate has restarted.',
    alert: 'internal_error',
    status: 503,
  },
})

/** Why something was refused. */
export type Reason = keyof typeof REASONS

/** All reasons, in the order of the way of a connection. */
export const REASON_NAMES = Object.keys(REASONS) as readonly Reason[]
