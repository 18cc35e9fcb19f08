// Compiles the gateway section, and resolves connector:// addresses: the one place where they become a client and its key.
import { connectorUrlText, type ConnectorUrl } from '../policy/connector-url.ts'
import type { ConnectorVia, GatewayPolicy, KnownConnector } from '../policy/gateway-policy.ts'
import type { Reporter } from './context.ts'
import type { Path } from './read.ts'
import type { WrittenPolicy } from './schema.ts'
import { suggestion } from './spelling.ts'

/** Compiles the section. */
export function compileGateway(written: WrittenPolicy['gateway'], report: Reporter): GatewayPolicy {
  const connectors = new Map<string, KnownConnector>()
  for (const [name, { key, client, identity }] of Object.entries(written.connectors)) {
    const at = report.at(['gateway', 'connectors', name])
    const twin = [...connectors.values()].find(
      other => other.key === key && other.client === (client ?? name),
    )
    if (twin !== undefined) {
      report.error(
        ['gateway', 'connectors', name],
        `this is the same client as connector ${twin.name}: name and key are equal`,
      )
    }
    connectors.set(name, { name, key, client: client ?? name, identity: identity ?? null, at })
  }
  return {
    connectors,
    identity: written.identity,
    attachments: written.attachments,
    attachmentsPerSource: written.attachmentsPerSource,
  }
}

/** The client behind a connector:// address; null when the policy names no such connector, which is then reported. */
export function resolveConnector(
  url: ConnectorUrl,
  gateway: GatewayPolicy,
  path: Path,
  report: Reporter,
): ConnectorVia | null {
  const entry = gateway.connectors.get(url.connector)
  if (entry !== undefined)
    return { connector: url.connector, client: entry.client, key: entry.key, service: url.service }
  report.error(
    path,
    `${connectorUrlText(url)} names a connector that gateway.connectors does not have`,
    suggestion(url.connector, [...gateway.connectors.keys()]) ??
      `add it: gateway: { connectors: { ${url.connector}: { key: <name of a gateway key> } } }`,
  )
  return null
}
