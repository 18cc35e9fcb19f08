// What status pages see of an open or beginning raw TCP stream.
import type { LiveConnection } from '../live-connection.ts'
import type { StreamConnection } from './stream-connection.ts'

/** The state of a stream in the words of connections. */
export function liveStream({ id, report, state, isOpen, link }: StreamConnection): LiveConnection {
  const { address, port, listener, site, country, serverName } = report.fields()
  return {
    address,
    port,
    listener,
    site,
    country,
    id,
    phase: isOpen ? 'open' : state === 'ending' ? 'refused' : 'hello',
    state,
    name: serverName,
    tls: null,
    tlsProfile: null,
    openedMs: report.openedMs,
    requests: 0,
    bytesIn: link?.bytesIn ?? 0,
    bytesOut: link?.bytesOut ?? 0,
  }
}
