// How a gate is named in what people read.
import type { GateAddress } from './dial.ts'

/** `host:port` of a gate, for people. */
export function placeOf({ host, port }: Pick<GateAddress, 'host' | 'port'>): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}
