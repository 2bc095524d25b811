using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Threading;
using XenDM.Core.Hypervisor;
using XenDM.Core.Memory;

namespace XenDM.Testing;

/// <summary>
/// A guest's memory and its grant table, as a hand-written front end fills it and a backend uses it. Entries can go or turn read-only at any time;
/// what is mapped then stays mapped, as it does with Xen.
/// </summary>
/// <param name="guest">Its domain number.</param>
/// <param name="pages">Of guest memory.</param>
public sealed class FakeGrants(int guest, int pages) : IGrants
{
    public const int PageBytes = 4096;

    /// <summary>References that a test grants begin here: the first eight are the toolstack's.</summary>
    public const uint FirstReference = 8;

    private const short Okay = 0, GeneralError = -1, BadDomain = -2, BadReference = -3, BadCopyArgument = -10;

    private readonly PinnedBuffer _memory = new((pages + 1) * PageBytes);
    private readonly Dictionary<uint, (int Page, bool IsReadOnly)> _entries = [];
    private readonly Dictionary<uint, int> _uses = [];
    private readonly Stack<uint> _freed = [];
    private readonly Stack<int> _free = [];
    private readonly Lock _gate = new();
    private uint _next = FirstReference;
    private int _taken;
    private int _mapped;

    /// <summary>Pages that the backend has mapped.</summary>
    public int Mapped => Volatile.Read(ref _mapped);

    /// <summary>No more can be mapped than this.</summary>
    public int MaxMapped { get; set; } = 1 << 20;

    /// <summary>Calls that mapped something.</summary>
    public int Maps { get; private set; }

    /// <summary>Pieces that were copied, or refused.</summary>
    public long Copies { get; private set; }

    /// <summary>A page of guest memory.</summary>
    public int Allocate() => _free.TryPop(out var page) ? page : _taken < pages ? _taken++ : throw new InvalidOperationException("the guest has no more pages");

    /// <summary>Gives a page back to <see cref="Allocate"/>.</summary>
    public void Free(int page) => _free.Push(page);

    public Span<byte> Page(int page) => _memory.Span.Slice(Start + (page * PageBytes), PageBytes);

    /// <summary>Host address of a page; aligned to its size.</summary>
    public nint Address(int page) => _memory.Address + Start + (page * PageBytes);

    /// <summary>A 32-bit word of a page that the backend reads and writes too.</summary>
    public ref uint Word(int page, int offset) => ref MemoryMarshal.Cast<byte, uint>(Page(page))[offset / sizeof(uint)];

    public uint Grant(int page, bool readOnly = false)
    {
        lock (_gate)
        {
            if (!_freed.TryPop(out var reference)) reference = _next++;
            _entries[reference] = (page, readOnly);
            return reference;
        }
    }

    /// <summary>Takes access away, as a driver does that is done with a page.</summary>
    /// <returns>False when the backend has it mapped still: then nothing happens.</returns>
    public bool TryEnd(uint reference)
    {
        lock (_gate)
        {
            if (_uses.GetValueOrDefault(reference) > 0) return false;
            if (_entries.Remove(reference)) _freed.Push(reference);
            return true;
        }
    }

    /// <summary>Changes an entry without looking whether it is in use; null for a page makes it invalid.</summary>
    public void Set(uint reference, int? page, bool readOnly = false)
    {
        lock (_gate)
        {
            if (page is { } at) _entries[reference] = (at, readOnly);
            else _entries.Remove(reference);
        }
    }

    public IGrantMapping? TryMap(int domain, ReadOnlySpan<uint> references, bool writable)
    {
        lock (_gate)
        {
            if (domain != guest || references.IsEmpty || references.Length > MaxMapped - _mapped) return null;
            var mapped = new int[references.Length];
            for (var n = 0; n < mapped.Length; n++)
            {
                if (!_entries.TryGetValue(references[n], out var entry) || (writable && entry.IsReadOnly)) return null;
                mapped[n] = entry.Page;
            }

            foreach (var reference in references) _uses[reference] = _uses.GetValueOrDefault(reference) + 1;
            _mapped += mapped.Length;
            Maps++;
            return new Mapping(this, references.ToArray(), mapped, writable);
        }
    }

    /// <summary>Rings that were mapped: their first grants, and the guest's ports that hear when they are unmapped.</summary>
    public List<(uint Reference, uint Port)> Rings { get; } = [];

    public IGrantMapping? TryMapRing(int domain, ReadOnlySpan<uint> references, IEventChannel channel)
    {
        lock (_gate) Rings.Add((references[0], channel.RemotePort));
        return TryMap(domain, references, writable: true);
    }

    public void Copy(int domain, Span<GrantCopy> pieces)
    {
        foreach (ref var piece in pieces) piece.Status = domain == guest ? CopyOne(piece) : BadDomain;
    }

    private short CopyOne(in GrantCopy piece)
    {
        lock (_gate)
        {
            Copies++;
            if (piece.Offset + piece.Length > PageBytes) return BadCopyArgument;
            if (!_entries.TryGetValue(piece.Reference, out var entry)) return BadReference;
            if (piece.ToGuest && entry.IsReadOnly) return GeneralError;
            var at = Start + (entry.Page * PageBytes) + piece.Offset;
            if (piece.ToGuest) Marshal.Copy(piece.Local, _memory.Array, at, piece.Length);
            else Marshal.Copy(_memory.Array, at, piece.Local, piece.Length);
            return Okay;
        }
    }

    private int Start => (int)(-_memory.Address & (PageBytes - 1));

    private sealed class Mapping(FakeGrants owner, uint[] references, int[] mapped, bool writable) : IGrantMapping
    {
        private bool _isDisposed;

        public int Pages => mapped.Length;

        public nint Address(int page)
        {
            Check();
            return owner.Address(mapped[page]);
        }

        public void Read(int offset, Span<byte> destination)
        {
            Check();
            while (!destination.IsEmpty)
            {
                var from = owner.Page(mapped[offset / PageBytes])[(offset % PageBytes)..];
                var count = Math.Min(from.Length, destination.Length);
                from[..count].CopyTo(destination);
                offset += count;
                destination = destination[count..];
            }
        }

        public void Write(int offset, ReadOnlySpan<byte> source)
        {
            Check();
            if (!writable) throw new InvalidOperationException("the pages are mapped for reading");
            while (!source.IsEmpty)
            {
                var to = owner.Page(mapped[offset / PageBytes])[(offset % PageBytes)..];
                var count = Math.Min(to.Length, source.Length);
                source[..count].CopyTo(to);
                offset += count;
                source = source[count..];
            }
        }

        public uint ReadIndex(int offset)
        {
            Check();
            return Volatile.Read(ref owner.Word(mapped[offset / PageBytes], offset % PageBytes));
        }

        public void WriteIndex(int offset, uint value)
        {
            Check();
            if (!writable) throw new InvalidOperationException("the pages are mapped for reading");
            Volatile.Write(ref owner.Word(mapped[offset / PageBytes], offset % PageBytes), value);
        }

        public void Written(int page)
        {
            Check();
            if (!writable) throw new InvalidOperationException("the pages are mapped for reading");
        }

        public void Dispose()
        {
            if (_isDisposed) return;
            _isDisposed = true;
            lock (owner._gate)
            {
                foreach (var reference in references) owner._uses[reference]--;
                owner._mapped -= mapped.Length;
            }
        }

        private void Check() => ObjectDisposedException.ThrowIf(_isDisposed, this);
    }
}
