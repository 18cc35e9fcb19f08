// The benign corpus: RMM traffic that no rule may refuse, generated from a seed.
import { AUTOMATE } from './automate.ts'
import { OTHERS } from './others.ts'
import { seeded } from './random.ts'
import type { Profile, Template } from './shapes.ts'
import { SOCKETS } from './sockets.ts'

/** A request of legitimate RMM traffic. */
export type BenignRequest = {
  /** Product and kind, for example `tacticalrmm: login`. */
  readonly name: string
  readonly profile: Profile
  readonly method: string
  readonly target: string
  /** Names in lower case. No host and no content-length: those belong to the connection that carries it. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer | null
  readonly webSocket: boolean
  /** The client's first messages, when it asks for a WebSocket. */
  readonly messages: readonly (string | Buffer)[]
}

/** The name under which the server of a profile is reached in the corpus. */
export function nameOf(profile: string): string {
  return `${profile}.example.test`
}

/** Every kind of traffic in the corpus. */
export const TEMPLATES: readonly Template[] = [...AUTOMATE, ...OTHERS, ...SOCKETS]

/** Makes `count` requests; every kind of traffic comes equally often. The same seed makes the same requests. */
export function benignRequests(seed: number, count: number): BenignRequest[] {
  const random = seeded(seed)
  return Array.from({ length: count }, (_, index) => {
    const template = TEMPLATES[index % TEMPLATES.length] as Template
    const { method = 'GET', target, headers = {}, body, messages } = template.draft(random)
    return {
      name: `${template.profile}: ${template.name}`,
      profile: template.profile,
      method,
      target,
      headers: Object.fromEntries(
        Object.entries(headers).map(([key, value]) => [
          key,
          value.replaceAll('rmm.example.test', nameOf(template.profile)),
        ]),
      ),
      body: body ?? null,
      webSocket: messages !== undefined,
      messages: messages ?? [],
    }
  })
}
