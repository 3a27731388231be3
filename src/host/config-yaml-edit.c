/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Editing by byte range: the new text is the old one with the values' bytes exchanged, parsed again and compared with
 * the old one node by node before anybody sees it. */

#include "config-yaml.h"

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "basic/trusted-path.h"
#include "config-yaml-document.h"

#define EDITS_MAX 3U

static const char *const editable[EDITS_MAX] = { "initial-cluster", "initial-cluster-state", "initial-cluster-token" };

/* Bytes [start, end) become `text`. */
typedef struct Patch {
        size_t start, end;
        char *text;
} Patch;

typedef struct Patches {
        Patch items[EDITS_MAX];
        size_t n;
} Patches;

static void patches_done(Patches *p) {
        for (size_t i = 0; i < p->n; i++)
                free(p->items[i].text);
}

static int check_edits(const ConfigEdit *edits, size_t n_edits, char **reterr) {
        for (size_t i = 0; i < n_edits; i++) {
                bool known = false;

                for (size_t j = 0; j < EDITS_MAX; j++)
                        known = known || streq(edits[i].key, editable[j]);
                for (size_t j = 0; j < i; j++)
                        known = known && !streq(edits[i].key, edits[j].key);
                if (!known || !edits[i].value)
                        return fail(reterr, -EINVAL, "the key '%s' is not one to edit, or is there twice",
                                    edits[i].key);

                for (const char *p = edits[i].value; *p; p++)
                        if ((unsigned char) *p < ' ' || *p == 0x7f)
                                return fail(reterr, -EINVAL, "the new value of '%s' has a control character",
                                            edits[i].key);
        }

        return 0;
}

/* Whether YAML reads the bare word as exactly this string, in block context. Rather too strict than too lax. */
static bool is_plain_safe(const char *value) {
        static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        static const char *const words[] = { "true", "false", "yes", "no", "on", "off", "y", "n", "null" };
        size_t length = strlen(value);

        if (length == 0 || !strchr(letters, value[0]) || value[length - 1] == ':')
                return false;
        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (strcasecmp(value, words[i]) == 0)
                        return false;

        for (size_t i = 0; i < length; i++)
                if (!strchr(letters, value[i]) && !strchr("0123456789_-./=:,@+%[]", value[i]))
                        return false;
        return true;
}

static char *quoted(const char *value, char quote) {
        char *text = malloc(2 * strlen(value) + 3), *p = text;

        if (!text)
                return NULL;

        *p++ = quote;
        for (const char *s = value; *s; s++) {
                if (quote == '\'' && *s == '\'')
                        *p++ = '\'';
                else if (quote == '"' && (*s == '"' || *s == '\\'))
                        *p++ = '\\';
                *p++ = *s;
        }
        *p++ = quote;
        *p = '\0';
        return text;
}

static char *value_text(const YamlNode *node, const char *value) {
        /* libyaml puts a value that is not there right behind the colon. */
        const char *space = node->start == node->end ? " " : "";
        _cleanup_free_ char *text = NULL;

        if (node->quote == 0 && is_plain_safe(value))
                text = strdup(value);
        else
                text = quoted(value, node->quote ?: '"');
        return text ? format("%s%s", space, text) : NULL;
}

static int add_patch(const YamlDocument *d, const ConfigEdit *edit, Patches *patches, char **reterr) {
        const YamlNode *node = yaml_document_find(d, YAML_TOP, edit->key);
        Patch patch;
        size_t i;

        if (!node)
                return fail(
                        reterr, -ENOKEY,
                        "there is no '%s' at the top level; add the line \"%s:\" by hand, or unpack the configuration "
                        "package again with \"config_packager.sh etcd unpackage-server\"",
                        edit->key, edit->key);
        if (d->nodes[YAML_TOP].flow)
                return fail(reterr, -EBADMSG, "the file is one {…} mapping; write one \"key: value\" a line instead");
        if (node->kind != YAML_KIND_SCALAR || node->quote == '|' || node->decorated)
                return fail(
                        reterr, -EBADMSG,
                        "line %zu: the value of '%s' is not a simple string (a block, list, tag or anchor); write it "
                        "as \"%s: VALUE\"",
                        node->line, edit->key, edit->key);
        if (!yaml_node_is_null(node) && streq(node->value, edit->value))
                return 0;

        patch = (Patch){ .start = node->start, .end = node->end, .text = value_text(node, edit->value) };
        if (!patch.text)
                return -ENOMEM;
        for (i = patches->n++; i > 0 && patches->items[i - 1].start > patch.start; i--)
                patches->items[i] = patches->items[i - 1];
        patches->items[i] = patch;
        return 0;
}

/* The text with all patches applied; they are sorted and do not overlap. */
static int apply_patches(const char *text, size_t size, const Patches *patches, char **ret, size_t *ret_size) {
        size_t room = size + 1, from = 0;
        char *new_text, *p;

        for (size_t i = 0; i < patches->n; i++)
                room += strlen(patches->items[i].text);
        p = new_text = malloc(room);
        if (!new_text)
                return -ENOMEM;

        for (size_t i = 0; i < patches->n; i++) {
                const Patch *patch = &patches->items[i];

                p = mempcpy(p, text + from, patch->start - from);
                p = stpcpy(p, patch->text);
                from = patch->end;
        }
        p = mempcpy(p, text + from, size - from);
        *p = '\0';

        *ret = new_text;
        *ret_size = (size_t) (p - new_text);
        return 0;
}

static const char *edited_value(const YamlNode *node, const ConfigEdit *edits, size_t n_edits) {
        for (size_t i = 0; i < n_edits; i++)
                if (node->parent == YAML_TOP && streq(node->key, edits[i].key))
                        return edits[i].value;
        return node->value;
}

/* The new document must be the old one with exactly the edited values changed. */
static bool is_as_intended(const YamlDocument *before, const YamlDocument *after, const ConfigEdit *edits,
                           size_t n_edits) {
        if (before->n != after->n)
                return false;

        for (size_t i = 0; i < before->n; i++) {
                const YamlNode *a = &before->nodes[i], *b = &after->nodes[i];

                if (a->kind != b->kind || a->parent != b->parent || !streq(a->key, b->key) ||
                    !streq(edited_value(a, edits, n_edits), b->value))
                        return false;
        }

        return true;
}

static int verify_edit(const YamlDocument *before, const char *text, size_t size, const ConfigEdit *edits,
                       size_t n_edits, char **reterr) {
        _cleanup_(yaml_document_freep) YamlDocument *after = NULL;

        if (yaml_document_parse(text, size, &after, NULL) < 0 || !is_as_intended(before, after, edits, n_edits))
                return fail(reterr, -EINVAL,
                            "the new values cannot be written into this file without changing anything else; write the "
                            "initial-cluster lines as \"key: value\" by hand");
        return 0;
}

int config_yaml_edit(const char *text, size_t size, const ConfigEdit *edits, size_t n_edits, char **ret,
                     size_t *ret_size, char **reterr) {
        _cleanup_(yaml_document_freep) YamlDocument *before = NULL;
        _cleanup_(patches_done) Patches patches = { .n = 0 };
        _cleanup_free_ char *new_text = NULL;
        size_t new_size;
        int r;

        r = check_edits(edits, n_edits, reterr);
        if (r < 0)
                return r;
        r = yaml_document_parse(text, size, &before, reterr);
        if (r < 0)
                return r;

        for (size_t i = 0; i < n_edits; i++) {
                r = add_patch(before, &edits[i], &patches, reterr);
                if (r < 0)
                        return r;
        }
        r = apply_patches(text, size, &patches, &new_text, &new_size);
        if (r < 0)
                return r;
        if (patches.n > 0) {
                r = verify_edit(before, new_text, new_size, edits, n_edits, reterr);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(new_text);
        if (ret_size)
                *ret_size = new_size;
        return patches.n > 0;
}

int config_yaml_edit_file(int dir_fd, const char *path, const ConfigEdit *edits, size_t n_edits, char **reterr) {
        char buffer[PATH_MAX];
        const char *at = file_at(dir_fd, path, buffer);
        _cleanup_free_ char *text = NULL, *new_text = NULL;
        size_t size, new_size;
        int changed, r;

        r = read_file(at, CONFIG_YAML_SIZE_MAX, /* follow= */ false, &text, &size);
        if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", path, strerror(-r));

        changed = config_yaml_edit(text, size, edits, n_edits, &new_text, &new_size, reterr);
        if (changed < 0)
                return fail_prefix(reterr, changed, "%s", path);

        /* Unchanged: an earlier call may have died between its rename and its fsync. */
        r = changed > 0 ? replace_file_durable(at, new_text, new_size) : fsync_parent(at);
        return r < 0 ? fail(reterr, r, "%s cannot be replaced: %s", path, strerror(-r)) : changed;
}
