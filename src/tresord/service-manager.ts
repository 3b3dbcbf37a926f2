/** What systemd hears of this process, sd_notify(3): nothing before this is the main process of its unit. */
import { notifySystemd } from "../native/addon.ts"

export class ServiceManager {
  #main: boolean

  /** `main`: false for a successor, which systemd would not listen to. */
  constructor(main: boolean) {
    this.#main = main
  }

  /** Lines of NAME=VALUE. */
  tell(text: string): void {
    if (this.#main) notifySystemd(text)
  }

  /** This process serves, and is the unit's main process. */
  ready(status: string): void {
    this.#main = true
    this.tell(`READY=1\nSTATUS=${status}`)
    this.#startWatchdog()
  }

  /** sd_watchdog_enabled(3): a loop that stands still gets us restarted. */
  #startWatchdog(): void {
    const usec = Number(process.env["WATCHDOG_USEC"] ?? 0)
    const pid = process.env["WATCHDOG_PID"]
    if (!(usec > 0) || (pid !== undefined && Number(pid) !== process.pid)) return
    setInterval(() => this.tell("WATCHDOG=1"), usec / 2000).unref()
  }

  /** Another process of the unit goes on in our place; its watchdog's time begins now. */
  pass(pid: number): void {
    this.tell(`MAINPID=${pid}\nWATCHDOG=1`)
    this.#main = false
  }
}
