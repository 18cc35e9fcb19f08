// TCP sockets that listen: how they are opened, whom they hand over, and why one could not be had.
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Reporter } from '../journal/events.ts'
import { parseAddress, type Address } from '../net/address.ts'
import type { Endpoint } from '../policy/snapshot.ts'
import type { Explained, ListeningOptions, Listens, Place } from './listening.ts'
import { findPortHolder } from './port-holder.ts'

/** What is different from one kind of listener to the other. */
export type TcpServersOptions<L extends Listens> = {
  readonly reporter: Reporter
  /** Takes a connection; `place` follows the policy. */
  readonly accept: (raw: Socket, peer: Address, place: Place<L>) => void
  readonly keepAliveMs: (listener: L) => number
  /** What a listener is called in an internal error. */
  readonly kind: 'listener' | 'stream'
}

const BACKLOG = 4_096

/** The ways of TCP for a set of endpoints. */
export function tcpServers<L extends Listens>(
  options: TcpServersOptions<L>,
): Pick<ListeningOptions<L, Server>, 'reporter' | 'open' | 'portOf' | 'shut' | 'explain'> {
  const { reporter, kind } = options
  return {
    reporter,
    open: async (place, ipv6Only) => {
      const { listener } = place
      const server = createServer({
        allowHalfOpen: true,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: options.keepAliveMs(listener),
      })
      server.on('connection', raw => {
        const peer = peerOf(raw)
        if (peer !== undefined) options.accept(raw, peer, place)
      })
      await listen(server, { ...place.endpoint, backlog: BACKLOG, ipv6Only })
      // Errors of a socket that listens (EMFILE and the like) are reported, and it goes on listening.
      server.on('error', error => {
        const where = `${kind} ${listener.id}`
        reporter.report('gate.internal-error', { where, problem: error.message, stack: error.stack ?? '' })
      })
      return server
    },
    portOf,
    shut: server => server.close(),
    explain: explainBindFailure,
  }
}

/** The address of who connected; undefined: the client was gone before it was accepted, so that no event could name it. */
function peerOf(raw: Socket): Address | undefined {
  // A link-local peer carries the interface as a zone, which is no part of its address.
  const peer = parseAddress(raw.remoteAddress?.split('%', 1)[0] ?? '')
  if (peer === undefined) {
    raw.on('error', () => undefined)
    raw.destroy()
  }
  return peer
}

function listen(
  server: Server,
  options: { host: string; port: number; backlog: number; ipv6Only: boolean },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(options, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** 0: it does not listen. */
function portOf(server: Server): number {
  const address = server.address() as AddressInfo | null
  return address?.port ?? 0
}

/** Why an address could not be had, and what to do about it. */
async function explainBindFailure(code: string, { host, port }: Endpoint): Promise<Explained> {
  switch (code) {
    case 'EADDRINUSE': {
      const holder = await findPortHolder(port)
      const who = holder === undefined ? 'another process' : `${holder.command} (process ${holder.pid})`
      return {
        problem: `port ${port} is held by ${who}`,
        remedy: `Stop ${who} or move it to another port, or set another port for this listener; \`ss -ltnp sport = :${port}\` shows who listens.`,
      }
    }
    case 'EACCES':
      return {
        problem: `this process may not listen on port ${port}`,
        remedy:
          'Start it with the capability CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities), or use a port from 1024 on.',
      }
    case 'EADDRNOTAVAIL':
      return {
        problem: `the address ${host} is not on this machine`,
        remedy:
          'Correct the address of the listener, or add it to a network interface; it is tried again every 10 seconds.',
      }
    default:
      return { problem: `${code} on ${host} port ${port}`, remedy: 'Correct the endpoint of the listener.' }
  }
}
