using System;
using System.Collections.Generic;
using System.Globalization;

namespace XenDM.Monitor;

/// <summary>Descriptors that clients passed (<c>add-fd</c>), by set; <c>/dev/fdset/N</c> names a set where a command takes a file.</summary>
public sealed class FdSets : IDisposable
{
    /// <summary>More than any toolstack passes; a client that never removes its sets is refused.</summary>
    private const int MaxFds = 64;
    private const string Prefix = "/dev/fdset/";
    private readonly SortedDictionary<int, List<Entry>> _sets = [];
    private readonly Action<int> _close;
    private readonly Func<int, int> _duplicate;
    private int _count;

    /// <param name="Opaque">The client's note, or null.</param>
    public readonly record struct Entry(int Fd, string? Opaque);

    /// <param name="close">Closes a descriptor.</param>
    /// <param name="duplicate">Makes another descriptor of the same open file; negative when there is none left.</param>
    public FdSets(Action<int> close, Func<int, int> duplicate)
    {
        _close = close;
        _duplicate = duplicate;
    }

    /// <summary>All sets, ascending.</summary>
    public IEnumerable<KeyValuePair<int, List<Entry>>> All => _sets;

    /// <summary>Adds a descriptor, which then belongs to the set.</summary>
    /// <param name="set">An existing or new set, or -1 for the first free one.</param>
    /// <returns>The set.</returns>
    /// <exception cref="QmpException">There are too many; the descriptor stays the caller's.</exception>
    public int Add(int fd, int set, string? opaque)
    {
        if (_count >= MaxFds)
            throw new QmpException($"there are {MaxFds} file descriptors already; remove some with remove-fd");

        if (set < 0)
            for (set = 0; _sets.ContainsKey(set);) set++;
        if (!_sets.TryGetValue(set, out var entries)) _sets.Add(set, entries = []);
        entries.Add(new Entry(fd, opaque));
        _count++;
        return set;
    }

    /// <summary>Closes one descriptor of a set, or all.</summary>
    /// <param name="fd">-1 for all.</param>
    /// <exception cref="QmpException">There is no such set or descriptor.</exception>
    public void Remove(int set, int fd)
    {
        if (!_sets.TryGetValue(set, out var entries)) throw new QmpException($"File descriptor named 'fdset-id:{set}' not found");
        var removed = entries.RemoveAll(e =>
        {
            if (fd >= 0 && e.Fd != fd) return false;
            _close(e.Fd);
            return true;
        });
        if (removed == 0) throw new QmpException($"File descriptor named 'fdset-id:{set}, fd:{fd}' not found");
        _count -= removed;
        if (entries.Count == 0) _sets.Remove(set);
    }

    /// <summary>The first descriptor of the set that a file name stands for; it stays the set's.</summary>
    /// <returns>-1 when the name is an ordinary path.</returns>
    /// <exception cref="QmpException">The set does not exist.</exception>
    public int Resolve(string fileName)
    {
        if (!fileName.StartsWith(Prefix, StringComparison.Ordinal)) return -1;
        var number = fileName.AsSpan(Prefix.Length);
        if (!int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var set) || !_sets.TryGetValue(set, out var entries))
            throw new QmpException($"Could not open '{fileName}': there is no such set of file descriptors");
        return entries[0].Fd;
    }

    /// <summary>As <see cref="Resolve"/>, but a duplicate, which is the caller's: the set may go away before the file is done with.</summary>
    /// <inheritdoc cref="Resolve"/>
    public int Duplicate(string fileName)
    {
        var fd = Resolve(fileName);
        if (fd < 0) return -1;
        var own = _duplicate(fd);
        return own >= 0 ? own : throw new QmpException($"Could not open '{fileName}': no file descriptor is left");
    }

    /// <summary>Closes all sets.</summary>
    public void Clear()
    {
        foreach (var entries in _sets.Values)
            foreach (var entry in entries) _close(entry.Fd);
        _sets.Clear();
        _count = 0;
    }

    public void Dispose() => Clear();
}
