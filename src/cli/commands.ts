// The commands, in the groups of the help page.
import type { Command } from './command.ts'
import { applyCommand } from './commands/apply.ts'
import { certCommand } from './commands/cert.ts'
import { checkCommand } from './commands/check.ts'
import { clientsCommand, sessionsCommand } from './commands/clients.ts'
import { connectCommand } from './commands/connect.ts'
import { cutoverCommand } from './commands/cutover.ts'
import { demoCommand } from './commands/demo.ts'
import { diagnoseCommand } from './commands/diagnose.ts'
import { enrollCommand } from './commands/enroll.ts'
import { eventsCommand } from './commands/events.ts'
import { exceptionsCommand } from './commands/exceptions.ts'
import { explainCommand } from './commands/explain.ts'
import { generateCommand } from './commands/generate.ts'
import { allowCommand, banCommand, denyCommand, unbanCommand } from './commands/overlay.ts'
import { firewallPlanCommand } from './commands/firewall-plan.ts'
import { geoCommand } from './commands/geo.ts'
import { diffCommand, historyCommand, rollbackCommand } from './commands/history.ts'
import { invitationsCommand } from './commands/invitations.ts'
import { keysCommand } from './commands/keys.ts'
import { operatorsCommand } from './commands/operators.ts'
import { planCommand } from './commands/plan.ts'
import { reloadCommand } from './commands/reload.ts'
import { rewriteInvitationCommand } from './commands/rewrite-invitation.ts'
import { rulesCommand } from './commands/rules.ts'
import { runCommand } from './commands/run.ts'
import { setupCommand } from './commands/setup.ts'
import { sitesCommand } from './commands/sites.ts'
import { statusCommand } from './commands/status.ts'
import { templateCommand } from './commands/template.ts'
import { tlsReportCommand } from './commands/tls-report.ts'
import { trialCommand } from './commands/trial.ts'

/** Commands that answer one need, under a heading of the help page. */
export type CommandGroup = { readonly title: string; readonly commands: readonly Command[] }

/** All commands, as the help page shows them. */
export const COMMAND_GROUPS: readonly CommandGroup[] = [
  {
    title: 'Run it',
    commands: [runCommand, demoCommand, setupCommand, checkCommand, reloadCommand, statusCommand],
  },
  {
    title: 'Why does someone not get in?',
    commands: [diagnoseCommand, explainCommand, eventsCommand, sitesCommand, geoCommand],
  },
  {
    title: 'Let in, keep out',
    commands: [allowCommand, denyCommand, banCommand, unbanCommand, exceptionsCommand, enrollCommand],
  },
  {
    title: 'Change the policy without losing anybody',
    commands: [planCommand, applyCommand, historyCommand, diffCommand, rollbackCommand, rulesCommand],
  },
  {
    title: 'Bring a fleet behind the gate',
    commands: [
      templateCommand,
      trialCommand,
      tlsReportCommand,
      cutoverCommand,
      firewallPlanCommand,
      certCommand,
    ],
  },
  {
    title: 'Reach clients behind NAT',
    commands: [
      clientsCommand,
      sessionsCommand,
      connectCommand,
      keysCommand,
      operatorsCommand,
      rewriteInvitationCommand,
      invitationsCommand,
    ],
  },
  {
    title: 'For developers',
    commands: [generateCommand],
  },
]

/** All commands. */
export const COMMANDS: readonly Command[] = COMMAND_GROUPS.flatMap(({ commands }) => commands)
