// Why a UDP address could not be had, and what to do about it.
import type { Endpoint } from '../../policy/snapshot.ts'
import type { Explained } from '../listening.ts'

/** Explains the error code of a failed bind. */
export function explainUdpBind(code: string, { host, port }: Endpoint): Explained {
  switch (code) {
    case 'EADDRINUSE':
      return {
        problem: `UDP port ${port} is held by another process`,
        remedy: `\`ss -lunp sport = :${port}\` shows which; stop it, or set another port. It is tried again every 10 seconds.`,
      }
    case 'EACCES':
      return {
        problem: `this process may not listen on UDP port ${port}`,
        remedy:
          'Start it with the capability CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities), or use a port from 1024 on.',
      }
    case 'EADDRNOTAVAIL':
      return {
        problem: `the address ${host} is not on this machine`,
        remedy:
          'Correct the address of the heartbeats listener, or add it to a network interface; it is tried again every 10 seconds.',
      }
    default:
      return {
        problem: `${code} on ${host} UDP port ${port}`,
        remedy: 'Correct the address of the heartbeats listener.',
      }
  }
}
