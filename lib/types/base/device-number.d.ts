/** Numbers of devices as stat(2) gives them (glibc's makedev(3)). Pure. */
/** "major:minor", by which /sys/dev and /run/cryptsetup name a device. */
export declare function deviceNumber(rdev: number | bigint): string;
