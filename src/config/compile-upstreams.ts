// Compiles upstream groups: members, probe, how their certificates are verified.
import { X509Certificate } from 'node:crypto'
import { parseAddress } from '../net/address.ts'
import { resolveConnector } from './compile-gateway.ts'
import type { GatewayPolicy } from '../policy/gateway-policy.ts'
import type { HealthProbe, UpstreamGroup, UpstreamMember, UpstreamTls } from '../policy/snapshot.ts'
import { compileProbe } from './compile-profile.ts'
import type { Reporter } from './context.ts'
import { originText } from './describe.ts'
import type { Path } from './read.ts'
import type { WrittenPolicy } from './schema.ts'

/** Reads a text file that the policy names; a sentence when it cannot. */
export type ReadText = (path: string) => { readonly text: string } | { readonly problem: string }

type Written = WrittenPolicy['upstreams'][string]

/** Compiles every upstream group. `probes` gives the probe of the profile that uses a group. */
export function compileUpstreams(
  written: WrittenPolicy['upstreams'],
  gateway: GatewayPolicy,
  probes: ReadonlyMap<string, HealthProbe>,
  fallback: HealthProbe,
  readText: ReadText,
  report: Reporter,
): ReadonlyMap<string, UpstreamGroup> {
  const out = new Map<string, UpstreamGroup>()
  for (const [id, group] of Object.entries(written)) {
    const path: Path = ['upstreams', id]
    const tls = compileTls(group, path, readText, report)
    const members = (['primary', 'secondary'] as const).flatMap((role): readonly UpstreamMember[] => {
      const entry = group[role]
      if (entry === undefined) return []
      const { connector, ...origin } = entry
      const here = [...path, role]
      const via = connector === undefined ? null : resolveConnector(connector, gateway, here, report)
      if (connector === undefined && origin.protocol === 'http' && !isThisMachine(origin.host)) {
        report.warn(
          here,
          `traffic to ${origin.host} is not encrypted between the gate and the RMM server`,
          'use https:// unless that network is yours alone',
        )
      }
      return [
        {
          id: `${id}/${role}`,
          origin,
          tls:
            origin.protocol === 'https'
              ? {
                  serverName: tls.serverName ?? origin.host,
                  caPem: tls.caPem,
                  pinsSha256: tls.pinsSha256,
                }
              : null,
          ...(via === null ? {} : { via }),
          at: report.at(here),
        },
      ]
    })
    const [first, second] = members
    if (first !== undefined && second !== undefined && originText(first) === originText(second)) {
      report.error([...path, 'secondary'], 'the secondary is the same server as the primary')
    }
    out.set(id, {
      id,
      members,
      health: compileProbe(probes.get(id) ?? fallback, group.health),
      returnAfterMs: group.returnAfter,
      hostHeader: group.hostHeader,
      at: report.at(path),
    })
  }
  return out
}

type GroupTls = Omit<UpstreamTls, 'serverName'> & { readonly serverName: string | undefined }

function compileTls(group: Written, path: Path, readText: ReadText, report: Reporter): GroupTls {
  const { tls } = group
  if (tls === undefined) return { serverName: undefined, caPem: null, pinsSha256: [] }
  const here = [...path, 'tls']
  if (group.primary.protocol === 'http' && group.secondary?.protocol !== 'https') {
    report.error(
      here,
      'tls has no meaning for a server that is reached by http://',
      'write https:// or remove tls',
    )
  }
  return { serverName: tls.serverName, ...compileCertificateCheck(tls, here, readText, report) }
}

/** How the certificate of a server is verified, apart from its name. */
export function compileCertificateCheck(
  tls: NonNullable<Written['tls']>,
  path: Path,
  readText: ReadText,
  report: Reporter,
): Omit<UpstreamTls, 'serverName'> {
  let caPem: string | null = null
  if (tls.ca !== undefined) {
    const result = readText(tls.ca)
    const problem = 'problem' in result ? result.problem : certificateProblem(result.text)
    if (problem !== null) {
      report.error([...path, 'ca'], `the authority file ${JSON.stringify(tls.ca)} cannot be used: ${problem}`)
    } else if ('text' in result) caPem = result.text
  }
  return { caPem, pinsSha256: (tls.pins ?? []).map(pin => pin.slice('sha256/'.length)) }
}

function certificateProblem(pem: string): string | null {
  try {
    void new X509Certificate(pem)
    return null
  } catch {
    return 'it holds no PEM certificate'
  }
}

/** Whether a host is this machine by its spelling. */
export function isThisMachine(host: string): boolean {
  const address = parseAddress(host)
  if (address === undefined) return host === 'localhost' || host.endsWith('.localhost')
  return address.text === '::1' || (address.family === 4 && address.text.startsWith('127.'))
}
