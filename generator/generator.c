/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /etc/tresortab to units, for systemd (systemd.generator(7), tresortab(5)).
 *
 *   tresor-generator NORMAL-DIR EARLY-DIR LATE-DIR
 *
 * Each line NAME DEVICE KEY-FILE OPTIONS makes drop-ins of tresor@NAME.service,
 * which serves the volume, of tresor-unlock@NAME.service, which brings its
 * passphrase, and of tresor-ask@NAME.service, which brings it again after
 * tresor-lock.service locked the volume; and links that start the first two, in
 * the order that systemd keeps for crypttab(5). It runs at boot before anything is mounted but /, and at each
 * daemon-reload: in C, since Node would cost each of them 50 ms.
 *
 * A line with a mistake makes no unit, and is named in the kernel's log: a
 * volume must not be served without an option somebody misspelt.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_TABLE "/etc/tresortab"
#define STATE "/var/lib/tresor"
#define SYSTEM_UNITS PREFIX "/lib/systemd/system"

/* systemd unit names are at most 255 bytes; checkName() of src/control/runtime.ts allows 127. */
#define MOST_NAME 127

/* What a line says. Strings belong to the line's buffer. */
struct entry {
	const char *name, *device, *key_file;
	const char *header, *policy, *tries, *timeout, *keyfile_size, *keyfile_offset, *device_timeout;
	/* Of the daemon: words with a value. */
	const char *grace, *backend, *lease, *lease_duration, *store_timeout;
	/* "block", "kernel" or NULL for NBD. */
	const char *export;
	bool noauto, nofail, locked, netdev, readonly, discard, direct, cache, tpm2;
};

static const char *table, *directory;
static unsigned line_number;
static bool failed;

/* A generator's standard error goes nowhere at boot. */
__attribute__((format(printf, 1, 2))) static void complain(const char *format, ...)
{
	FILE *log = getenv("TRESOR_TABLE") == NULL ? fopen("/dev/kmsg", "we") : NULL;
	va_list arguments;

	va_start(arguments, format);
	fprintf(log == NULL ? stderr : log, "%stresor-generator: %s:%u: ", log == NULL ? "" : "<3>", table,
		line_number);
	vfprintf(log == NULL ? stderr : log, format, arguments);
	fputc('\n', log == NULL ? stderr : log);
	va_end(arguments);
	if (log != NULL)
		fclose(log);
	failed = true;
}

__attribute__((noreturn)) static void die(const char *what)
{
	complain("%s: %s", what, strerror(errno));
	exit(1);
}

__attribute__((format(printf, 1, 2))) static char *text(const char *format, ...)
{
	va_list arguments;
	char *made;

	va_start(arguments, format);
	if (vasprintf(&made, format, arguments) < 0)
		die("out of memory");
	va_end(arguments);
	return made;
}

static bool starts(const char *string, const char *prefix)
{
	return strncmp(string, prefix, strlen(prefix)) == 0;
}

/* systemd-escape --path: "/dev/disk/by-id/a-b" to "dev-disk-by\x2did-a\x2db". */
static char *escape_path(const char *path)
{
	char *escaped = malloc(strlen(path) * 4 + 2), *out = escaped;

	if (escaped == NULL)
		die("out of memory");
	while (*path == '/')
		path++;
	if (*path == 0)
		*out++ = '-';
	for (bool first = true; *path != 0; path++, first = false) {
		unsigned char c = (unsigned char)*path;

		if (c == '/') {
			while (path[1] == '/')
				path++;
			if (path[1] != 0)
				*out++ = '-';
		} else if (isalnum(c) || c == ':' || c == '_' || (c == '.' && !first)) {
			*out++ = (char)c;
		} else {
			out += sprintf(out, "\\x%02x", c);
		}
	}
	*out = 0;
	return escaped;
}

/* A word of a unit file: quoted, and without specifiers and variables. */
static char *quoted(const char *word)
{
	char *made = malloc(strlen(word) * 4 + 3), *out = made;

	if (made == NULL)
		die("out of memory");
	*out++ = '"';
	for (; *word != 0; word++) {
		if (*word == '"' || *word == '\\')
			*out++ = '\\';
		if (*word == '%' || *word == '$')
			*out++ = *word;
		*out++ = *word;
	}
	*out++ = '"';
	*out = 0;
	return made;
}

/* udev's names below /dev/disk: what is neither a letter, a digit nor one of these is \xNN. */
static char *encode_tag(const char *value)
{
	char *made = malloc(strlen(value) * 4 + 1), *out = made;

	if (made == NULL)
		die("out of memory");
	for (; *value != 0; value++) {
		unsigned char c = (unsigned char)*value;

		if (isalnum(c) || strchr("#+-.:=@_", c) != NULL || c >= 0x80)
			*out++ = (char)c;
		else
			out += sprintf(out, "\\x%02x", c);
	}
	*out = 0;
	return made;
}

/* UUID=x and its kin, as fstab(5) has them; anything else stays. */
static const char *resolve(const char *device)
{
	static const char *const tags[][2] = {
		{ "UUID=", "by-uuid" },		  { "LABEL=", "by-label" }, { "PARTUUID=", "by-partuuid" },
		{ "PARTLABEL=", "by-partlabel" }, { "ID=", "by-id" },
	};

	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
		if (starts(device, tags[i][0]))
			return text("/dev/disk/%s/%s", tags[i][1], encode_tag(device + strlen(tags[i][0])));
	return device;
}

static bool is_uri(const char *device)
{
	return strstr(device, "://") != NULL;
}

static bool is_number(const char *value)
{
	return *value != 0 && strspn(value, "0123456789") == strlen(value) && strlen(value) <= 9;
}

/* As checkName() of src/control/runtime.ts, but for "+", which no unit's name has. */
static bool is_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:@-";

	return strlen(name) <= MOST_NAME && (isalnum((unsigned char)*name) || *name == '_') &&
	       strspn(name, letters) == strlen(name);
}

/* One of the comma-separated words. False: complained. */
static bool take_option(struct entry *entry, char *option)
{
	const struct {
		const char *word;
		bool *flag;
	} flags[] = {
		{ "noauto", &entry->noauto },	{ "nofail", &entry->nofail },	  { "locked", &entry->locked },
		{ "_netdev", &entry->netdev },	{ "readonly", &entry->readonly }, { "read-only", &entry->readonly },
		{ "discard", &entry->discard }, { "direct", &entry->direct },	  { "password-cache", &entry->cache },
		{ "tpm2", &entry->tpm2 },
	};
	const struct {
		const char *word;
		const char **value;
		bool number;
	} values[] = {
		{ "header=", &entry->header, false },
		{ "policy=", &entry->policy, false },
		{ "tries=", &entry->tries, true },
		{ "timeout=", &entry->timeout, true },
		{ "keyfile-size=", &entry->keyfile_size, true },
		{ "keyfile-offset=", &entry->keyfile_offset, true },
		{ "grace=", &entry->grace, true },
		{ "backend=", &entry->backend, false },
		{ "lease=", &entry->lease, false },
		{ "lease-duration=", &entry->lease_duration, true },
		{ "store-timeout=", &entry->store_timeout, true },
		{ "x-systemd.device-timeout=", &entry->device_timeout, false },
	};

	/* What crypttab's lines name the kind of a volume with. */
	if (*option == 0 || strcmp(option, "defaults") == 0 || strcmp(option, "luks") == 0)
		return true;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (strcmp(option, flags[i].word) == 0)
			return *flags[i].flag = true;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		if (!starts(option, values[i].word))
			continue;
		*values[i].value = option + strlen(values[i].word);
		if (**values[i].value == 0 || (values[i].number && !is_number(*values[i].value))) {
			complain("%s has no %s", option, values[i].number ? "number" : "value");
			return false;
		}
		return true;
	}
	if (strcmp(option, "block") == 0 || strcmp(option, "kernel") == 0 || strcmp(option, "nbd") == 0) {
		entry->export = strcmp(option, "nbd") == 0 ? NULL : option;
		return true;
	}
	complain("unknown option %s; the volume is left out", option);
	return false;
}

static bool parse(char *line, struct entry *entry)
{
	char *at = NULL, *options;
	const char *key;

	*entry = (struct entry){ .export = "block" };
	entry->name = strtok_r(line, " \t\n", &at);
	entry->device = strtok_r(NULL, " \t\n", &at);
	key = strtok_r(NULL, " \t\n", &at);
	options = strtok_r(NULL, " \t\n", &at);
	if (entry->device == NULL) {
		complain("a line is NAME DEVICE [KEY-FILE [OPTIONS]]");
		return false;
	}
	if (strtok_r(NULL, " \t\n", &at) != NULL) {
		complain("a line has at most four fields");
		return false;
	}
	if (!is_name(entry->name)) {
		complain("%s is no name of a volume: letters, digits and _.:@- are allowed, a letter, a digit or _ "
			 "first",
			 entry->name);
		return false;
	}
	if (key != NULL && strcmp(key, "none") != 0 && strcmp(key, "-") != 0) {
		if (*key != '/') {
			complain("the key file %s is no absolute path", key);
			return false;
		}
		entry->key_file = key;
	}
	entry->device = resolve(entry->device);
	if (*entry->device != '/' && !is_uri(entry->device)) {
		complain("%s is neither an absolute path, UUID= and the like, nor an NBD URI", entry->device);
		return false;
	}
	for (char *option = options == NULL ? NULL : strtok_r(options, ",", &at); option != NULL;
	     option = strtok_r(NULL, ",", &at))
		if (!take_option(entry, option))
			return false;
	if (entry->header != NULL && *(entry->header = resolve(entry->header)) != '/') {
		complain("the header %s is no absolute path", entry->header);
		return false;
	}
	entry->netdev |= is_uri(entry->device);
	return true;
}

static void make_directory(const char *path)
{
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		die(path);
}

/* DIRECTORY/UNIT.d/tresortab.conf; the caller closes it. */
static FILE *drop_in(const char *unit)
{
	char *folder = text("%s/%s.d", directory, unit);
	char *path = text("%s/tresortab.conf", folder);
	FILE *file;

	make_directory(folder);
	file = fopen(path, "we");
	if (file == NULL)
		die(path);
	fprintf(file, "# Made by tresor-generator from %s.\n", table);
	free(folder);
	free(path);
	return file;
}

static void finish(FILE *file)
{
	if (ferror(file) || fclose(file) != 0)
		die("a unit cannot be written");
}

/* TARGET.KIND/UNIT: `target` starts `unit`, a template's instance. */
static void link_unit(const char *target, const char *kind, const char *template, const char *unit)
{
	char *folder = text("%s/%s.%s", directory, target, kind);
	char *path = text("%s/%s", folder, unit);
	char *source = text("%s/%s", SYSTEM_UNITS, template);

	make_directory(folder);
	if (symlink(source, path) != 0 && errno != EEXIST)
		die(path);
	free(folder);
	free(path);
	free(source);
}

/* What has to be there before `path` is opened. */
static void need(FILE *file, const char *path, bool bind)
{
	char *unit;

	if (!starts(path, "/dev/")) {
		fprintf(file, "RequiresMountsFor=%s\n", quoted(path));
		return;
	}
	unit = escape_path(path);
	fprintf(file, "%s=%s.device\nAfter=%s.device\n", bind ? "BindsTo" : "Requires", unit, unit);
	free(unit);
}

static void word(FILE *file, const char *option, const char *value)
{
	if (value != NULL)
		fprintf(file, " %s %s", option, quoted(value));
}

static void flag(FILE *file, const char *option, bool given)
{
	if (given)
		fprintf(file, " %s", option);
}

static void write_server(const struct entry *entry, const char *unit)
{
	FILE *file = drop_in(unit);

	fprintf(file, "[Unit]\nSourcePath=%s\n", table);
	if (entry->netdev)
		fprintf(file, "Wants=network-online.target\nAfter=remote-fs-pre.target network-online.target\n");
	if (!is_uri(entry->device))
		need(file, entry->device, true);
	if (entry->header != NULL)
		need(file, entry->header, false);
	if (entry->tpm2) {
		/* tresor-machine.service comes after the device too, once somebody waits for it. */
		need(file, "/dev/tpmrm0", false);
		fprintf(file,
			"AssertPathExists=" STATE "/machine-secret.tpm2\nAssertPathExists=!" STATE "/machine-secret\n");
	}
	if (entry->export != NULL) {
		const char *module = strcmp(entry->export, "block") == 0 ? "ublk_drv" : "tresor";

		/* The unit may load none. A mapping lies over a ublk device too, before Linux 6.16. */
		fprintf(file, "Wants=modprobe@%s.service modprobe@dm_mod.service\n", module);
		fprintf(file, "After=modprobe@%s.service modprobe@dm_mod.service\n", module);
	}
	fprintf(file, "[Service]\nExecStart=\nExecStart=" PREFIX "/sbin/tresord");
	if (entry->export != NULL)
		fprintf(file, " --%s", entry->export);
	flag(file, "--readonly", entry->readonly);
	flag(file, "--allow-discards", entry->discard);
	flag(file, "--direct", entry->direct);
	word(file, "--header", entry->header);
	word(file, "--grace", entry->grace);
	word(file, "--backend", entry->backend);
	word(file, "--lease", entry->lease);
	word(file, "--lease-duration", entry->lease_duration);
	word(file, "--store-timeout", entry->store_timeout);
	fprintf(file, " -- %s %s\n", quoted(entry->device), quoted(entry->name));
	/* The unit sees everything but this read-only. */
	if (*entry->device == '/' && !starts(entry->device, "/dev/") && !entry->readonly)
		fprintf(file, "ReadWritePaths=%s\n", quoted(entry->device));
	if (entry->header != NULL && !starts(entry->header, "/dev/") && !entry->readonly)
		fprintf(file, "ReadWritePaths=%s\n", quoted(entry->header));
	if (entry->export != NULL)
		fprintf(file, "CapabilityBoundingSet=CAP_SYS_ADMIN CAP_MKNOD\n");
	finish(file);
}

static void write_setkey(FILE *file, const struct entry *entry)
{
	fprintf(file, "ExecStart=" PREFIX "/bin/tresor setkey");
	if (entry->key_file == NULL)
		fprintf(file, " --password-agent");
	flag(file, "--password-cache", entry->cache && entry->key_file == NULL);
	word(file, "--key-file", entry->key_file);
	word(file, "--keyfile-size", entry->keyfile_size);
	word(file, "--keyfile-offset", entry->keyfile_offset);
	word(file, "--policy", entry->policy);
	word(file, "--tries", entry->tries);
	word(file, "--timeout", entry->timeout);
	fprintf(file, " -- %s\n", quoted(entry->name));
}

static void write_ask(const struct entry *entry)
{
	FILE *file = drop_in(text("tresor-ask@%s.service", entry->name));

	fprintf(file, "[Unit]\nSourcePath=%s\n[Service]\nExecStart=\n", table);
	write_setkey(file, entry);
	finish(file);
}

static void write_unlock(const struct entry *entry, const char *unit, const char *device)
{
	FILE *file = drop_in(unit);
	const char *before = entry->netdev ? "remote-fs.target" : "tresor.target";

	fprintf(file, "[Unit]\nSourcePath=%s\n", table);
	if (entry->key_file != NULL)
		need(file, entry->key_file, false);
	if (entry->policy != NULL)
		need(file, entry->policy, false);
	/* What is ordered after it: file systems of fstab, and so what umount.target stops first. */
	if (device != NULL)
		fprintf(file, "Wants=blockdev@%s.target\nBefore=blockdev@%s.target\n", device, device);
	if (!entry->nofail && !entry->noauto)
		fprintf(file, "Before=%s\n", before);
	fprintf(file, "[Service]\n");
	write_setkey(file, entry);
	finish(file);
}

static void write_entry(const struct entry *entry)
{
	char *server = text("tresor@%s.service", entry->name), *unlock = text("tresor-unlock@%s.service", entry->name);
	const char *template = entry->locked ? "tresor@.service" : "tresor-unlock@.service";
	const char *wanted = entry->locked ? server : unlock;
	const char *target = entry->netdev ? "remote-fs.target" : "tresor.target";
	char *device = NULL;

	if (entry->export != NULL)
		device = escape_path(
			text("/dev/%s/%s", strcmp(entry->export, "kernel") == 0 ? "mapper" : "tresor", entry->name));
	write_server(entry, server);
	write_unlock(entry, unlock, device);
	write_ask(entry);
	if (device != NULL) {
		char *unit = text("%s.device", device);
		FILE *file = drop_in(unit);

		/* A person may be slow; the question has its own limit. */
		fprintf(file, "[Unit]\nJobTimeoutSec=infinity\n");
		finish(file);
		link_unit(unit, "requires", template, wanted);
	}
	if (entry->device_timeout != NULL && starts(entry->device, "/dev/")) {
		FILE *file = drop_in(text("%s.device", escape_path(entry->device)));

		fprintf(file, "[Unit]\nJobRunningTimeoutSec=%s\n", entry->device_timeout);
		finish(file);
	}
	if (!entry->noauto)
		link_unit(target, entry->nofail ? "wants" : "requires", template, wanted);
	if (!entry->noauto && !entry->netdev)
		link_unit("sysinit.target", "wants", "tresor.target", "tresor.target");
}

int main(int argc, char **argv)
{
	char *line = NULL;
	size_t size = 0;
	FILE *file;

	if (argc != 4) {
		fprintf(stderr, "usage: tresor-generator NORMAL-DIR EARLY-DIR LATE-DIR\n");
		return 1;
	}
	directory = argv[1];
	table = getenv("TRESOR_TABLE") != NULL ? getenv("TRESOR_TABLE") : DEFAULT_TABLE;
	umask(0022);
	file = fopen(table, "re");
	if (file == NULL) {
		if (errno == ENOENT)
			return 0;
		die("cannot be read");
	}
	while (getline(&line, &size, file) >= 0) {
		struct entry entry;
		char *begin = line + strspn(line, " \t\n");

		line_number++;
		if (*begin == 0 || *begin == '#')
			continue;
		if (parse(begin, &entry))
			write_entry(&entry);
	}
	if (ferror(file))
		die("cannot be read");
	/* The line is not freed: entries of it are not needed any more, and the process ends here. */
	return failed ? 1 : 0;
}
