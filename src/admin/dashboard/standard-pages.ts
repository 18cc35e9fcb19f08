// Pages that say why there is no other page.
import type { Operator } from '../../access/access.ts'
import type { EventFields } from '../../journal/events.ts'
import { html } from './html.ts'
import type { Page } from './page.ts'

/** Nothing is at this path. */
export function notFound(path: string): Omit<Page, 'kind'> {
  return {
    title: 'Not found',
    body: html`<p>There is nothing at <code>${path}</code>.</p>
      <p><a href="/">Go to the overview</a></p>`,
  }
}

/** The operator may not open or do this. */
export function refusedPage(
  operator: Operator,
  why: EventFields['dashboard.refused']['why'],
): Omit<Page, 'kind'> {
  const text =
    why === 'role'
      ? `Your role is ${operator.role}, which does not allow this.`
      : why === 'site'
        ? 'There is no such site among those that you see.'
        : 'You are limited to some sites or keys, and this is about the whole gate.'
  return {
    title: 'Not allowed',
    body: html`<p>${text}</p>
      <p class="dim">
        Whoever runs the gate can change it: <code>bin/portcullis operators</code>. The attempt is in the
        audit log.
      </p>`,
  }
}

/** The password that a change asks for was not the operator's. */
export function wrongPasswordPage(problem: string): Omit<Page, 'kind'> {
  return {
    title: 'Not done',
    body: html`<p>
        ${problem === 'Name or password is wrong.' ? 'That is not your password.' : problem} Nothing has
        changed.
      </p>
      <p><a href="/plan">Back to the plan</a></p>`,
  }
}
