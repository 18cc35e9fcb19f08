// Plan preview: what a candidate policy would change and whom it would lose, worked out by the plan of the command line.
import {
  agoText,
  ago,
  choiceField,
  counted,
  emptyState,
  numberText,
  panel,
  state,
  table,
  textField,
} from '../components.ts'
import { REASONS } from '../../../policy/reasons.ts'
import { MAX_REASON, readReason } from '../form.ts'
import { html, type Html } from '../html.ts'
import { link, type PageAnswer, type PageRequest, type PageRoute } from '../page.ts'
import { fileDiff } from './file-diff.ts'
import { isReason } from './refusals.ts'
import type { PageSources, PlanCandidate, PlanChange, PlanJob, PlanOutcome } from './sources.ts'

const MAX_TEXT_BYTES = 512 * 1024
const MAX_PATH = 512
const SHOWN = 100
const MINUTE_MS = 60_000
/** How long the guard may watch. */
const GUARDS = [
  ['30m', '30 minutes', 30 * MINUTE_MS],
  ['2h', '2 hours', 120 * MINUTE_MS],
  ['1d', '1 day', 1_440 * MINUTE_MS],
  ['none', 'not at all', null],
] as const

/** Pages of the plan. */
export function planRoutes(sources: PageSources): readonly PageRoute[] {
  const base = { role: 'admin', reach: 'gate' } as const
  return [
    {
      ...base,
      method: 'GET',
      path: '/plan',
      navigation: { group: 'Gate', label: 'Plan' },
      run: ({ nowMs, csrf }) => {
        const job = sources.plan.state()
        const isRunning = job !== null && job.endedMs === null
        return {
          kind: 'page',
          title: 'Plan',
          ...(isRunning ? { refreshSeconds: 2 } : {}),
          body: planView({ job, csrf, nowMs }),
        }
      },
    },
    {
      ...base,
      method: 'POST',
      path: '/plan',
      action: 'plan a policy',
      // A pasted policy, each character of which may take three in a form.
      maxFormBytes: 3 * MAX_TEXT_BYTES,
      run: request => start(request, sources),
    },
    {
      ...base,
      method: 'POST',
      path: '/plan/:id/apply',
      action: 'put a policy in force',
      asksPassword: true,
      run: request => apply(request, sources),
    },
    {
      ...base,
      method: 'POST',
      path: '/plan/stop',
      action: 'stop a plan',
      run: async () => {
        await sources.plan.stop()
        return { kind: 'redirect', to: '/plan', notice: 'The plan is stopped.' }
      },
    },
  ]
}

function start({ form, view }: PageRequest, sources: PageSources): PageAnswer {
  const directory = (form.get('directory') ?? '').trim()
  const text = (form.get('policy') ?? '').replaceAll('\r\n', '\n')
  if ((directory === '') === (text.trim() === ''))
    return unplanned('Name a directory, or paste the text of portcullis.yaml: one of the two.')
  if (directory.length > MAX_PATH || /\p{Cc}/u.test(directory))
    return unplanned('The directory is not one that can be read.')
  if (Buffer.byteLength(text) > MAX_TEXT_BYTES) return unplanned('The text is longer than a policy can be.')
  const candidate: PlanCandidate =
    directory === '' ? { kind: 'text', text } : { kind: 'directory', directory }
  return startPlan(candidate, view.operator.name, directory === '' ? 'pasted text' : directory, sources)
}

/** Starts a plan and leads to it. */
export function startPlan(
  candidate: PlanCandidate,
  who: string,
  target: string,
  sources: PageSources,
): PageAnswer {
  if (!sources.plan.start(candidate, who))
    return { ...unplanned('A plan is being made already; wait for it, or stop it.'), status: 409 }
  return { kind: 'redirect', to: '/plan', target }
}

async function apply({ params, form, view }: PageRequest, sources: PageSources): Promise<PageAnswer> {
  const job = sources.plan.state()
  if (job === null || String(job.id) !== params['id'])
    return { ...unchanged(['Another plan was made since. Look at it, or make yours again.']), status: 409 }
  const reason = readReason(form)
  if (reason === null)
    return unchanged([
      `A reason of 1 to ${MAX_REASON} plain characters is needed; it is kept in the history.`,
    ])
  const guard = GUARDS.find(([value]) => value === form.get('guard'))
  if (guard === undefined) return unchanged(['Choose how long the guard watches.'])
  const lost = lostOf(job)
  const accepted = form.get('accept') === String(lost) ? lost : 0
  if (lost > accepted)
    return unchanged([
      `${counted(lost, 'source')} with active agents would be lost. Tick that this is meant.`,
    ])
  const { name } = view.operator
  const agreement = { who: name, why: reason, guardMs: guard[2], acceptedLoss: accepted }
  const change = await sources.plan.apply(job.id, agreement)
  if (!change.ok) return unchanged(change.problems)
  const loss = lost === 0 ? '' : `, ${counted(lost, 'active source')} given up`
  const watch = change.guarded ? `the guard watches for ${guard[1]}` : 'no guard watches'
  return {
    kind: 'redirect',
    to: '/history',
    target: `${job.subject}${loss}, ${watch}`.slice(0, 200),
    notice: `In force${change.version === null ? '' : ` as version ${change.version}`}; ${watch}.`,
  }
}

function lostOf({ outcome }: PlanJob): number {
  return outcome?.kind === 'done' ? (outcome.replay?.lostAgents ?? 0) : 0
}

function unchanged(problems: readonly string[]): Extract<PageAnswer, { kind: 'page' }> {
  return {
    kind: 'page',
    title: 'Nothing was changed',
    status: 400,
    body: html`${problems.map(problem => html`<pre class="problem" tabindex="0">${problem}</pre>`)}
      <p><a href="/plan">Back to the plan</a></p>`,
  }
}

function unplanned(what: string): Extract<PageAnswer, { kind: 'page' }> {
  return {
    kind: 'page',
    title: 'No plan was made',
    status: 400,
    body: emptyState(what, html`<a href="${link`/plan`}">Back</a>`),
  }
}

/** What the page shows. */
export type PlanData = { readonly job: PlanJob | null; readonly csrf: Html; readonly nowMs: number }

/** The page. */
export function planView({ job, csrf, nowMs }: PlanData): Html {
  return html`
    <p>
      A plan replays the recorded traffic of the last 7 days through another policy and says who would be lost
      and who gained. It changes nothing by itself; once it is made, it can be put in force.
    </p>
    ${job === null ? null : jobView(job, csrf, nowMs)}
    ${panel(
      'Make a plan',
      html`<form method="post" action="/plan" class="stack">
        ${csrf}
        <label class="field"
          ><span>Directory of a candidate policy</span
          ><input
            type="text"
            name="directory"
            maxlength="${MAX_PATH}"
            aria-describedby="directory-hint"
          /><small id="directory-hint"
            >on the machine of the gate, for example /etc/portcullis/candidate</small
          ></label
        >
        <label class="field"
          ><span>or the text of portcullis.yaml</span
          ><textarea name="policy" spellcheck="false" aria-describedby="policy-hint"></textarea
          ><small id="policy-hint">profiles and rules stay as they are</small></label
        >
        <button class="primary">Make the plan</button>
      </form>`,
    )}
  `
}

function jobView(job: PlanJob, csrf: Html, nowMs: number): Html {
  if (job.outcome === null) {
    return panel(
      'Being made',
      html`<p role="status">
          The plan of ${job.subject} is being made, by ${job.who}, begun ${agoText(job.startedMs, nowMs)}.
          ${job.progress}
        </p>
        <form method="post" action="/plan/stop">${csrf}<button>Stop</button></form>`,
    )
  }
  return html`<p class="dim">
      Plan of ${job.subject}, by ${job.who}, ${ago(job.endedMs ?? job.startedMs, nowMs)}
    </p>
    ${outcomeView(job.outcome, nowMs)}
    ${
      job.outcome.kind !== 'done'
        ? null
        : panel(
            'Lines that change',
            job.files.length === 0
              ? emptyState('No file would change.')
              : html`${job.meaning.map(sentence => html`<p>${sentence}</p>`)} ${job.files.map(fileDiff)}`,
          )
    }
    ${job.isOpen && job.files.length > 0 ? panel('Put it in force', applyForm(job, csrf)) : null}`
}

function applyForm(job: PlanJob, csrf: Html): Html {
  const lost = lostOf(job)
  const replay = job.outcome?.kind === 'done' ? job.outcome.replay : null
  return html`<form method="post" class="stack" action="${link`/plan/${job.id}/apply`}">
    ${csrf}
    <p>
      Exactly the lines above are written, and every agent gets the policy at once.
      ${replay === null ? 'Nothing has been recorded yet, so nobody knows whom it loses.' : null}
    </p>
    ${textField('Why', 'reason', { value: job.reason, required: true, maxLength: MAX_REASON, hint: 'kept in the history' })}
    ${choiceField(
      'The guard watches for',
      'guard',
      GUARDS.map(([value, text]) => [value, text] as const),
    )}
    <p class="dim small">
      It compares the agents that check in with the hour before, and takes the policy back by itself when they
      stop coming or known ones are refused.
    </p>
    ${
      lost === 0
        ? null
        : html`<label class="check"
            ><input type="checkbox" name="accept" value="${lost}" required /> The loss of
            ${counted(lost, 'source')} with active agents is meant</label
          >`
    }
    ${textField('Your password', 'password', { type: 'password', required: true, autocomplete: 'current-password' })}
    <button class="danger">Put it in force</button>
  </form>`
}

/** The outcome of a plan. */
export function outcomeView(outcome: PlanOutcome, nowMs: number): Html {
  if (outcome.kind === 'failed')
    return html`<p class="problem">The plan could not be made: ${outcome.problem}</p>`
  if (outcome.kind === 'invalid') {
    return html`<section class="panel">
      <header><h2>The candidate is not valid</h2></header>
      ${outcome.problems.map(problem => html`<pre class="problem" tabindex="0">${problem}</pre>`)}
    </section>`
  }
  const { replay, changes, rules } = outcome
  const lost = replay?.changes.filter(change => change.kind === 'lost') ?? []
  const gained = replay?.changes.filter(change => change.kind === 'gained') ?? []
  return html`
    ${replay === null ? html`<p class="problem">Nothing has been recorded yet: who would be lost cannot be said.</p>` : verdict(replay)}
    ${panel(
      'What changes',
      changes.length === 0
        ? emptyState('The candidate means the same as the policy in force.')
        : html`<ul>
            ${changes.map(change => html`<li>${change}</li>`)}
          </ul>`,
    )}
    ${lost.length === 0 ? null : panel('Who would be lost', changeTable('Sources that would be refused', lost, nowMs))}
    ${gained.length === 0 ? null : panel('Who would be let in', changeTable('Sources that would be let in', gained, nowMs))}
    ${replay !== null && replay.more > 0 ? html`<p class="dim">${counted(replay.more, 'more change')}: <code>portcullis plan --json</code> lists all.</p>` : null}
    ${
      rules.length === 0
        ? null
        : panel(
            'Rules that would begin to enforce',
            table(
              'Rules that would begin to enforce, and whom they would have refused',
              [
                { head: 'Rule' },
                { head: 'Hits', numeric: true },
                { head: 'Sources', numeric: true },
                { head: 'Known agents', numeric: true },
              ],
              rules.map(rule => [
                html`<a href="${link`/rules/${rule.ruleId}`}">${rule.ruleId}</a>`,
                numberText(rule.hits),
                numberText(rule.sourceCount),
                rule.knownAgents === 0 ? '0' : state('bad', numberText(rule.knownAgents)),
              ]),
            ),
          )
    }
  `
}

function verdict({
  rows,
  sources,
  agents,
  lostAgents,
}: {
  readonly rows: number
  readonly sources: number
  readonly agents: number
  readonly lostAgents: number
}): Html {
  return html`<div class="verdict ${lostAgents === 0 ? 'good' : 'bad'}">
    <p class="headline">
      ${
        lostAgents === 0
          ? state('good', 'No active agent would be lost.')
          : state('bad', `${counted(lostAgents, 'source')} with active agents would be lost.`)
      }
    </p>
    <p class="dim">
      Replayed ${counted(rows, 'record')} of ${counted(sources, 'source')}, ${numberText(agents)} of them with
      agents.
    </p>
  </div>`
}

function changeTable(caption: string, changes: readonly PlanChange[], nowMs: number): Html {
  const more = changes.length - SHOWN
  return html`${table(
    caption,
    [
      { head: 'Site' },
      { head: 'Address', short: true },
      { head: 'Class' },
      { head: 'Last', short: true },
      { head: 'Why', long: true },
    ],
    changes
      .slice(0, SHOWN)
      .map(change => [
        html`${change.site ?? '–'} ${change.activeAgent ? state('bad', 'active agent') : null}`,
        html`<a href="${link`/addresses/${change.address}`}">${change.address}</a>`,
        change.class ?? '–',
        ago(change.lastMs, nowMs),
        html`${isReason(change.reason) ? REASONS[change.reason].because : change.reason} (${change.saw})
          <code class="small">${change.line}</code>`,
      ]),
  )}
  ${more > 0 ? html`<p class="dim">and ${counted(more, 'more source')}</p>` : null}`
}
