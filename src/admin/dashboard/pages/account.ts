// The operator's own account: what it may do, where it is logged in, and the end of other sessions.
import type { Operator, Role } from '../../../access/access.ts'
import { ago, facts, panel, table } from '../components.ts'
import { html } from '../html.ts'
import type { PageRoute } from '../page.ts'
import type { Session } from '../sessions.ts'

/** What the page needs: the sessions of the operator who asks. */
export type AccountSources = {
  readonly sessions: (operator: Operator) => readonly Session[]
  /** Ends every session of the operator, this one included. */
  readonly endAll: (operator: Operator) => number
}

const ROLE_WORDS: Readonly<Record<Role, string>> = {
  viewer: 'viewer: sees, changes nothing',
  support: 'support: also sets bans and allows that end',
  admin: 'admin: may do everything',
}

/** The routes. */
export function accountRoutes(sources: AccountSources): readonly PageRoute[] {
  return [
    {
      method: 'GET',
      path: '/account',
      role: 'viewer',
      reach: 'sites',
      run: ({ view: { operator }, csrf, nowMs }) => ({
        kind: 'page',
        title: 'Your account',
        body: html`${panel(
          operator.name,
          html`${facts([
              ['Role', ROLE_WORDS[operator.role]],
              ['Sites', operator.sites === null ? 'all' : operator.sites.join(', ')],
              ['Gateway keys', operator.keys === null ? 'all' : operator.keys.join(', ')],
            ])}
            <p class="dim">
              A new password is set on the gate’s machine:
              <code>bin/portcullis operators password ${operator.name}</code>. It ends all sessions.
            </p>`,
        )}
        ${panel(
          'Where you are logged in',
          html`${table(
              'Your sessions',
              [
                { head: 'Address', short: true },
                { head: 'Since', short: true },
                { head: 'Last used', short: true },
              ],
              sources
                .sessions(operator)
                .toSorted((a, b) => b.usedMs - a.usedMs)
                .map(session => [session.address, ago(session.startedMs, nowMs), ago(session.usedMs, nowMs)]),
            )}
            <form method="post" action="/account/end-sessions">
              ${csrf}<button class="danger">Log out everywhere</button>
            </form>`,
        )}`,
      }),
    },
    {
      method: 'POST',
      path: '/account/end-sessions',
      role: 'viewer',
      reach: 'sites',
      action: 'log out everywhere',
      run: ({ view: { operator } }) => ({
        kind: 'redirect',
        to: '/login',
        target: `${sources.endAll(operator)} sessions`,
      }),
    },
  ]
}
