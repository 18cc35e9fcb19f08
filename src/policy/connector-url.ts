// The one place that reads `connector://name/service`: a local service that an attached connector offers.

/** A service behind a connector. */
export type ConnectorUrl = {
  /** Name of the connector, as under gateway.connectors. */
  readonly connector: string
  readonly service: string
  /** The gate itself speaks TLS through the tunnel (`connector+tls:`); otherwise the connector does, where its service says so. */
  readonly tls: boolean
}

/** Names of connectors and services: ids, so that they stand in headers, URLs and log lines as they are. */
export const TUNNEL_NAME = /^[a-z0-9][a-z0-9-]{0,62}$/

/** Names of clients: names of computers are among them. */
export const CONNECTOR_CLIENT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/

/** Whether a text means to be one, right or wrong. */
export function isConnectorUrl(text: string): boolean {
  return /^connector(?:\+tls)?:/i.test(text)
}

/**
 * Reads one.
 * @returns a sentence that says what is wrong when it is none
 */
export function parseConnectorUrl(text: string): ConnectorUrl | string {
  const match = /^connector(\+tls)?:\/\/([^/]*)\/([^/]*)$/.exec(text)
  const [, tls, connector = '', service = ''] = match ?? []
  if (match === null) return 'not connector://name/service'
  if (!TUNNEL_NAME.test(connector)) return `${JSON.stringify(connector)} is no name of a connector`
  if (!TUNNEL_NAME.test(service)) return `${JSON.stringify(service)} is no name of a service`
  return { connector, service, tls: tls !== undefined }
}

/** The text that reads back as this. */
export function connectorUrlText({ connector, service, tls }: ConnectorUrl): string {
  return `connector${tls ? '+tls' : ''}://${connector}/${service}`
}
