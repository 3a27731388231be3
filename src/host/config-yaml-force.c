/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config-yaml-force.h"

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "basic/trusted-path.h"
#include "config-yaml-document.h"
#include "config-yaml.h"

#define KEY "force-new-cluster"

/* Told from a line of somebody else by its comment. */
static const char own_line[] = KEY ": true # added by dhetcd for one start, and removed after it";

/* `text` with [start, end) replaced. */
static int splice(const char *text, size_t size, size_t start, size_t end, const char *with, char **ret,
                  size_t *ret_size) {
        size_t n = strlen(with);
        char *p = malloc(size - (end - start) + n + 1);

        if (!p)
                return -ENOMEM;
        memcpy(p, text, start);
        memcpy(p + start, with, n);
        memcpy(p + start + n, text + end, size - end);
        *ret_size = size - (end - start) + n;
        p[*ret_size] = '\0';
        *ret = p;
        return 1;
}

/* The key is not there: a new last line, with a line end of its own or, where the last one has none, before it. */
static int add_line(const char *text, size_t size, char **ret, size_t *ret_size) {
        bool ended = size == 0 || text[size - 1] == '\n';
        _cleanup_free_ char *line = ended ? format("%s\n", own_line) : format("\n%s", own_line);

        return line ? splice(text, size, size, size, line, ret, ret_size) : -ENOMEM;
}

static int remove_line(const char *text, size_t size, const char *line, char **ret, size_t *ret_size) {
        size_t start = (size_t) (line - text), end = start + strlen(own_line);

        if (end < size)
                end++;
        else if (start > 0)
                start--;
        return splice(text, size, start, end, "", ret, ret_size);
}

/* Our line as a whole line, or NULL. */
static const char *find_line(const char *text, size_t size) {
        size_t n = strlen(own_line);

        for (const char *p = text; p; p = memchr(p, '\n', size - (size_t) (p - text))) {
                p += p > text || *p == '\n';
                if (size - (size_t) (p - text) < n)
                        return NULL;
                if (memcmp(p, own_line, n) == 0 && (p + n == text + size || p[n] == '\n'))
                        return p;
        }
        return NULL;
}

static int change(const char *text, size_t size, const YamlDocument *d, bool force, char **ret, size_t *ret_size,
                  char **reterr) {
        const YamlNode *node = yaml_document_find(d, YAML_TOP, KEY);
        const char *line = find_line(text, size);

        if (d->nodes[YAML_TOP].flow)
                return fail(reterr, -EBADMSG, "the file is one {…} mapping; write one \"key: value\" a line instead");
        if (!node)
                return force ? add_line(text, size, ret, ret_size) : splice(text, size, 0, 0, "", ret, ret_size);
        if (!force && line)
                return remove_line(text, size, line, ret, ret_size);
        if (node->kind != YAML_KIND_SCALAR || !node->plain || node->decorated || node->start == node->end)
                return fail(reterr, -EBADMSG, "line %zu: the value of '" KEY "' must be true or false; mend it by hand",
                            node->line);
        return splice(text, size, node->start, node->end, force ? "true" : "false", ret, ret_size);
}

/* What etcd will read is what was meant, and every other key is what it was. */
static int verify(const YamlDocument *before, const char *text, size_t size, bool force, char **reterr) {
        _cleanup_(yaml_document_freep) YamlDocument *after = NULL;
        const YamlNode *node;
        bool same = true;
        size_t k = 0;

        if (yaml_document_parse(text, size, &after, NULL) < 0)
                same = false;
        for (size_t i = 0; same && i < after->n; i++) {
                if (streq(after->nodes[i].key, KEY))
                        continue;
                while (k < before->n && streq(before->nodes[k].key, KEY))
                        k++;
                same = k < before->n && streq(before->nodes[k].key, after->nodes[i].key) &&
                       streq(before->nodes[k].value, after->nodes[i].value) &&
                       before->nodes[k].kind == after->nodes[i].kind;
                k++;
        }
        while (same && k < before->n && streq(before->nodes[k].key, KEY))
                k++;
        node = same ? yaml_document_find(after, YAML_TOP, KEY) : NULL;
        if (!same || k != before->n || (node && streq(node->value, "true")) != force)
                return fail(reterr, -EBADMSG,
                            "the line \"" KEY ": true\" cannot be %s without changing anything else; mend the file so "
                            "that every key begins its line",
                            force ? "added" : "removed");
        return 0;
}

int config_yaml_force(const char *text, size_t size, bool force, char **ret, size_t *ret_size, char **reterr) {
        _cleanup_(yaml_document_freep) YamlDocument *before = NULL;
        _cleanup_free_ char *new_text = NULL;
        size_t new_size = 0;
        int r;

        r = yaml_document_parse(text, size, &before, reterr);
        if (r >= 0)
                r = change(text, size, before, force, &new_text, &new_size, reterr);
        if (r >= 0)
                r = verify(before, new_text, new_size, force, reterr);
        if (r < 0)
                return r;

        r = new_size != size || memcmp(new_text, text, size) != 0;
        *ret = TAKE_PTR(new_text);
        *ret_size = new_size;
        return r;
}

int config_yaml_force_file(int dir_fd, const char *path, bool force, char **reterr) {
        char buffer[PATH_MAX];
        const char *at = file_at(dir_fd, path, buffer);
        _cleanup_free_ char *text = NULL, *new_text = NULL;
        size_t size, new_size;
        int changed, r;

        r = read_file(at, CONFIG_YAML_SIZE_MAX, /* follow= */ false, &text, &size);
        if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", path, strerror(-r));
        changed = config_yaml_force(text, size, force, &new_text, &new_size, reterr);
        if (changed < 0)
                return fail_prefix(reterr, changed, "%s", path);

        /* Unchanged: an earlier call may have died between its rename and its fsync. */
        r = changed > 0 ? replace_file_durable(at, new_text, new_size) : fsync_parent(at);
        return r < 0 ? fail(reterr, r, "%s cannot be replaced: %s", path, strerror(-r)) : changed;
}
