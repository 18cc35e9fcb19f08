// The login: its page, and what each answer of the accounts means for whoever tries.
import type { OperatorCheck } from '../../access/access.ts'
import type { Assets } from './assets.ts'
import { durationText } from './components.ts'
import { html, type Html } from './html.ts'
import { bare, type Theme } from './layout.ts'

/** What the login page shows. */
export type LoginPage = {
  readonly assets: Assets
  readonly theme: Theme
  /** Where to go afterwards. */
  readonly next: string
  /** Shown above the form: why the last attempt failed, or how the last session ended. */
  readonly problem: string | null
  readonly hasOperators: boolean
}

/** Longest name and password that are looked at. */
export const MAX_NAME = 128
/** See MAX_NAME. */
export const MAX_PASSWORD = 1_024

/** The page. It shows nothing that the form held, so that a wrong password is never in it. */
export function loginPage({ assets, theme, next, problem, hasOperators }: LoginPage): Html {
  const body = html`<div class="login">
    <h1>Portcullis</h1>
    ${problem === null ? null : html`<p class="problem" role="alert">${problem}</p>`}
    ${
      hasOperators
        ? null
        : html`<div class="empty">
            <p>Nobody can log in yet.</p>
            <p class="dim">
              Make the first operator on the gate’s machine:<br /><code
                >bin/portcullis operators add NAME --role admin</code
              >
            </p>
          </div>`
    }
    <form method="post" action="/login">
      <input type="hidden" name="next" value="${next}" />
      <label class="field"
        ><span>Name</span
        ><input
          name="name"
          autocomplete="username"
          autocapitalize="none"
          spellcheck="false"
          maxlength="${MAX_NAME}"
          required
          autofocus
      /></label>
      <label class="field"
        ><span>Password</span
        ><input
          type="password"
          name="password"
          autocomplete="current-password"
          maxlength="${MAX_PASSWORD}"
          required
      /></label>
      <button class="primary">Log in</button>
    </form>
  </div>`
  return bare('Log in', body, { assets, theme })
}

type Refusal = Extract<OperatorCheck, { readonly ok: false }>

/** What a refused attempt says. It is the same for a wrong name and a wrong password. */
export function refusalText({ why, retryAfterMs }: Pick<Refusal, 'why' | 'retryAfterMs'>): string {
  switch (why) {
    case 'unknown':
      return 'Name or password is wrong.'
    case 'held': {
      const wait = retryAfterMs === null ? 'later' : `in ${waitText(retryAfterMs)}`
      return `Too many attempts from your address have failed. Try again ${wait}; until then even the right password is refused.`
    }
    case 'busy':
      return `Too many attempts are being checked at this moment. Try again in ${waitText(retryAfterMs ?? 2_000)}.`
  }
}

/** Status and headers of a refused attempt. */
export function refusalStatus({ why, retryAfterMs }: Pick<Refusal, 'why' | 'retryAfterMs'>): {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
} {
  const wait = retryAfterMs === null ? {} : { 'retry-after': String(Math.ceil(retryAfterMs / 1_000)) }
  if (why === 'held') return { status: 429, headers: wait }
  return why === 'busy' ? { status: 503, headers: wait } : { status: 403, headers: {} }
}

function waitText(ms: number): string {
  // Rounded up: whoever comes back when told to is not refused again.
  return durationText(
    ms < 60_000 ? Math.max(1_000, Math.ceil(ms / 1_000) * 1_000) : Math.ceil(ms / 60_000) * 60_000,
  )
}
