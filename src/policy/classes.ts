// The closed list of traffic classes that profiles map requests to and policy attaches to.

/** Every class, in the order in which documents list them. */
export const CLASSES = [
  'agent',
  'enroll',
  'update',
  'transfer',
  'console',
  'api',
  'heartbeat',
  'relay',
  'other',
] as const

/** What a request is for, as named by a profile; `other` is whatever no profile names. */
export type TrafficClass = (typeof CLASSES)[number]

/** Classes that unattended agents use: losing them loses a fleet. */
export const AGENT_CLASSES: readonly TrafficClass[] = ['agent', 'update', 'transfer', 'heartbeat', 'relay']
