// The direct address of the RMM server as commands take it: one host, few ports, never a range.
import { parseAddress } from '../net/address.ts'
import type { Endpoint, Snapshot } from '../policy/snapshot.ts'
import { usageError, type CommandArguments } from './command.ts'
import { REACH_LIMITS } from './reach.ts'

/** The old, direct address: of the command line, else of the policy. One server only. @throws PortcullisError `usage` */
export function directOf(args: CommandArguments, snapshot: Snapshot): Endpoint {
  const text = args.text('direct')
  if (text === undefined) {
    const { direct } = snapshot.deployment
    if (direct !== null) return direct
    throw usageError(
      'the old, direct address is not known',
      'Add --direct <host[:port]>, or state deployment.direct in the policy.',
    )
  }
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]{1,253}))(?::([1-9][0-9]{0,4}))?$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3] ?? 443)
  const isHost =
    host !== undefined && (parseAddress(host) !== undefined || /[A-Za-z][A-Za-z0-9-]*$/.test(host))
  if (!isHost || port > 65_535)
    throw usageError(
      `--direct: "${text}" is not a host or host:port`,
      'One server: no ranges, no lists, no URL.',
    )
  return { host: host.toLowerCase(), port }
}

/** Ports to be checked, the first one included. @throws PortcullisError `usage` */
export function portList(args: CommandArguments, first: number): readonly number[] {
  const text = args.text('ports')
  const extra =
    text === undefined
      ? []
      : text.split(',').map(word => (/^[1-9][0-9]{0,4}$/.test(word.trim()) ? Number(word) : Number.NaN))
  if (extra.some(port => !(port <= 65_535)))
    throw usageError(`--ports: "${text ?? ''}" is not a list of ports`, 'Write --ports 80,8484.')
  const all = [...new Set([first, ...extra])]
  if (all.length > REACH_LIMITS.ports)
    throw usageError(`at most ${REACH_LIMITS.ports} ports`, 'This is a check of your own server, not a scan.')
  return all
}
