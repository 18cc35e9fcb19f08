// Tables of what stands behind addresses: devices, TLS versions, heartbeats.
import type { Device, DeviceHeartbeats, SiteDevices, TlsUse } from '../../../journal/store-devices.ts'
import { REASONS } from '../../../policy/reasons.ts'
import { ago, counted, emptyState, numberText, senderWords, state, table } from '../components.ts'
import { html, type Content, type Html } from '../html.ts'
import { link } from '../page.ts'
import { isReason } from './refusals.ts'
import type { SiteHeartbeats } from './site.ts'

const SHOWN = 50

/** Devices, the last heard first. */
export function deviceTable({ devices, deviceCount, complete }: SiteDevices, nowMs: number): Html {
  if (devices.length === 0) return emptyState('No device has been seen in the last 24 hours.')
  const more = deviceCount - Math.min(SHOWN, devices.length)
  return html`
    ${table(
      'Devices by address, user agent and TLS fingerprint',
      [
        { head: 'Address', short: true },
        { head: 'Device', long: true },
        { head: 'State' },
        { head: 'TLS', short: true },
        { head: 'Admitted', numeric: true },
        { head: 'Refused', numeric: true },
        { head: 'Last', short: true },
      ],
      devices
        .slice(0, SHOWN)
        .map(device => [
          html`<a href="${link`/addresses/${device.address}`}">${device.address}</a>`,
          html`${device.userAgent === 'none' ? 'no user agent' : device.userAgent}
            <span class="dim small"
              >${device.classes.join(', ')}${device.ja4 === null ? null : html` <code>${device.ja4}</code>`}</span
            >`,
          deviceState(device),
          device.tls ?? '–',
          numberText(device.admitted),
          numberText(device.refused),
          ago(device.lastMs, nowMs),
        ]),
    )}
    ${more > 0 ? html`<p class="dim">and ${counted(more, 'more device')}</p>` : null}
    ${complete ? null : html`<p class="dim">More addresses sent something than are looked at here.</p>`}
  `
}

function deviceState({ admitted, failed, refused, trouble }: Device): Content {
  if (refused > 0 && admitted === 0) return html`${state('bad', 'refused')} ${troubleWords(trouble)}`
  if (failed > 0 && failed * 10 >= admitted + failed) return state('warn', 'ends badly')
  if (refused > 0) return html`${state('warn', 'partly refused')} ${troubleWords(trouble)}`
  return admitted > 0 ? state('good', 'gets through') : state('idle', 'sent nothing')
}

/** Why, in the words of the reason. */
export function troubleWords(trouble: Device['trouble']): Html | null {
  if (trouble === null) return null
  const words =
    trouble === 'silent'
      ? 'connected and sent nothing'
      : trouble === 'handshake-failed'
        ? 'broke off the TLS handshake'
        : isReason(trouble)
          ? REASONS[trouble].because
          : trouble
  return html`<span class="dim small">${words}</span>`
}

/** TLS versions in use, weakest first. */
export function tlsTable(tls: readonly TlsUse[]): Html {
  if (tls.length === 0) return emptyState('No TLS connection in the last 24 hours.')
  return table(
    'TLS versions in use in the last 24 hours',
    [
      { head: 'Version' },
      { head: 'Devices', numeric: true },
      { head: 'Admitted', numeric: true },
      { head: 'Refused', numeric: true },
    ],
    tls.map(({ version, devices, admitted, refused }) => [
      html`${version}${version === 'TLSv1' || version === 'TLSv1.1' ? html` <span class="dim">old</span>` : null}`,
      numberText(devices),
      numberText(admitted),
      numberText(refused),
    ]),
  )
}

/** Heartbeats: since the gate runs by listener, and of the last day by address. */
export function heartbeatTable(
  running: readonly SiteHeartbeats[],
  day: readonly DeviceHeartbeats[],
  nowMs: number,
): Html {
  if (running.length === 0 && day.length === 0)
    return emptyState('No heartbeat over UDP has come from this site.', 'Agents check in without them, too.')
  const columns = [
    { head: 'From' },
    { head: 'Agents' },
    { head: 'In', numeric: true },
    { head: 'Replies', numeric: true },
    { head: 'Last in', short: true },
    { head: 'Last reply', short: true },
  ]
  return html`
    ${
      running.length === 0
        ? null
        : table(
            'Heartbeats since the listener opened',
            columns,
            running.map(entry => [
              `listener ${entry.listener}`,
              entry.senders === null
                ? null
                : entry.allGone
                  ? 'hardly any is heard, here or elsewhere: it is the gate'
                  : senderWords(entry.senders),
              numberText(entry.heartbeats),
              numberText(entry.replies),
              ago(entry.lastHeartbeatMs, nowMs),
              ago(entry.lastReplyMs, nowMs),
            ]),
          )
    }
    ${
      day.length === 0
        ? null
        : table(
            'Heartbeats of the last 24 hours by address',
            [
              { head: 'Address', short: true },
              { head: 'Answered', numeric: true },
              { head: 'Unanswered', numeric: true },
              { head: 'Last', short: true },
              { head: 'Last answered', short: true },
            ],
            day
              .slice(0, SHOWN)
              .map(entry => [
                html`<a href="${link`/addresses/${entry.address}`}">${entry.address}</a>`,
                numberText(entry.answered),
                numberText(entry.unanswered),
                ago(entry.lastMs, nowMs),
                ago(entry.lastAnsweredMs, nowMs),
              ]),
          )
    }
  `
}
