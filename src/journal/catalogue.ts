// The event catalogue: one definition per event. Log line, human sentence, metric and stored row all come from here.
import { ACCESS_EVENTS } from './catalogue/access.ts'
import { CLIENT_IDENTITY_EVENTS } from './catalogue/client-identity.ts'
import { CLIENT_EVENTS } from './catalogue/clients.ts'
import { DASHBOARD_EVENTS } from './catalogue/dashboard.ts'
import { GATE_EVENTS } from './catalogue/gate.ts'
import { HEARTBEAT_EVENTS } from './catalogue/heartbeats.ts'
import { INVITATION_EVENTS } from './catalogue/invitations.ts'
import { STREAM_EVENTS } from './catalogue/streams.ts'
import { HEARTBEAT_PRESENCE_EVENTS } from './catalogue/heartbeat-presence.ts'
import { HEARTBEAT_TUNNEL_EVENTS } from './catalogue/heartbeat-tunnels.ts'
import { DEPLOYMENT_EVENTS } from './catalogue/deployment.ts'
import { SURROUNDING_EVENTS } from './catalogue/surroundings.ts'
import { TRAFFIC_EVENTS } from './catalogue/traffic.ts'
import { TRIAL_EVENTS } from './catalogue/trial.ts'
import type { Definitions, EventDefinition } from './definition.ts'
import type { EventFields, EventName, Severity } from './events.ts'

/** Every event. The compiler refuses a name without a definition. */
export const CATALOGUE: Definitions<EventName> = {
  ...GATE_EVENTS,
  ...CLIENT_EVENTS,
  ...CLIENT_IDENTITY_EVENTS,
  ...ACCESS_EVENTS,
  ...TRAFFIC_EVENTS,
  ...HEARTBEAT_EVENTS,
  ...STREAM_EVENTS,
  ...INVITATION_EVENTS,
  ...HEARTBEAT_TUNNEL_EVENTS,
  ...HEARTBEAT_PRESENCE_EVENTS,
  ...SURROUNDING_EVENTS,
  ...DASHBOARD_EVENTS,
  ...DEPLOYMENT_EVENTS,
  ...TRIAL_EVENTS,
}

/** All event names, in the order of the documents. */
export const EVENT_NAMES = Object.keys(CATALOGUE) as readonly EventName[]

/** Severities by loudness; the store keeps the index. */
export const SEVERITIES: readonly Severity[] = ['debug', 'info', 'warning', 'error']

/** How loud this event is with these fields. */
export function severityOf<K extends EventName>(name: K, fields: EventFields[K]): Severity {
  const { severity }: EventDefinition<K> = CATALOGUE[name]
  return typeof severity === 'string' ? severity : severity(fields)
}

/** The sentence for a person. Give it redacted fields when the text leaves the process. */
export function sentenceOf<K extends EventName>(name: K, fields: EventFields[K]): string {
  const definition: EventDefinition<K> = CATALOGUE[name]
  return definition.sentence(fields)
}

/** The sentence of a stored row; undefined when the row comes from a version that knew other events or fields. */
export function sentenceOfRow(name: string, fields: Readonly<Record<string, unknown>>): string | undefined {
  if (!Object.hasOwn(CATALOGUE, name)) return undefined
  try {
    return sentenceOf(name as EventName, fields as never)
  } catch {
    return undefined
  }
}

/** The texts of an event in the numbered gateway log. */
export function gatewayTexts<K extends EventName>(name: K, fields: EventFields[K]): readonly string[] {
  const definition: EventDefinition<K> = CATALOGUE[name]
  return definition.gatewayLines?.(fields) ?? [definition.sentence(fields)]
}
