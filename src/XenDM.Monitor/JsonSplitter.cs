using System;
using System.Buffers;

namespace XenDM.Monitor;

/// <summary>
/// Finds where one JSON object ends in a stream, without needing line ends. It follows strings and brackets only, but refuses at once what can
/// stand in no message (a bracket that closes another kind, a line end in a string, a character outside of JSON): a client that sends broken
/// text gets its error without having to finish the object. Each byte is looked at once, however the text is cut.
/// </summary>
internal struct JsonSplitter
{
    /// <summary>Brackets inside one another; one bit each says which kind is open.</summary>
    internal const int MaxDepth = 64;

    private ulong _isArray;
    private int _depth;
    private bool _inString;
    private bool _escaped;

    /// <summary>What the bytes looked at so far are.</summary>
    public enum Outcome
    {
        /// <summary>An object has begun and not ended, or there is only white space.</summary>
        NeedMore,

        /// <summary>An object ends at the position.</summary>
        Complete,

        /// <summary>No message can go on like this: see <see cref="Error"/>.</summary>
        Garbage,
    }

    /// <summary>Bytes of the message seen so far.</summary>
    public long Length { get; private set; }

    /// <summary>After <see cref="Outcome.Garbage"/>: what to tell the client.</summary>
    public string? Error { get; private set; }

    /// <summary>After <see cref="Outcome.Garbage"/>: there are too many brackets inside one another, so that most of what follows is more of them.</summary>
    public bool IsTooDeep { get; private set; }

    public readonly bool InObject => _depth > 0;

    /// <summary>Goes on at the first byte that was not looked at yet.</summary>
    /// <param name="position">Where to go on; afterwards behind what was looked at (<see cref="Outcome.Garbage"/>: at the culprit).</param>
    public Outcome Scan(ReadOnlySequence<byte> buffer, ref SequencePosition position)
    {
        var rest = buffer.Slice(position);
        var taken = 0L;
        foreach (var memory in rest)
        {
            foreach (var b in memory.Span)
            {
                if (_depth == 0 && b is (byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n')
                {
                    taken++;
                    continue;
                }

                var outcome = _depth == 0 ? Begin(b) : Step(b);
                if (outcome != Outcome.Garbage) taken++;
                if (outcome == Outcome.NeedMore)
                {
                    Length++;
                    continue;
                }

                position = rest.GetPosition(taken);
                return outcome;
            }
        }

        position = buffer.End;
        return Outcome.NeedMore;
    }

    public void Reset() => this = default;

    private Outcome Begin(byte b)
    {
        if (b == (byte)'{') return Open(isArray: false);
        Error = b is (byte)'[' or (byte)'"' or (byte)'-' or (byte)'t' or (byte)'f' or (byte)'n' or (>= (byte)'0' and <= (byte)'9')
            ? "QMP input must be a JSON object"
            : Stray(b);
        return Outcome.Garbage;
    }

    private Outcome Step(byte b)
    {
        if (_inString)
        {
            if (b < 0x20) return Fail($"JSON parse error, a control character (0x{b:x2}) in a string");
            if (_escaped) _escaped = false;
            else if (b == (byte)'\\') _escaped = true;
            else if (b == (byte)'"') _inString = false;
            return Outcome.NeedMore;
        }

        switch (b)
        {
            case (byte)'"':
                _inString = true;
                return Outcome.NeedMore;
            case (byte)'{': return Open(isArray: false);
            case (byte)'[': return Open(isArray: true);
            case (byte)'}': return Close(isArray: false);
            case (byte)']': return Close(isArray: true);
            case (byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n' or (byte)':' or (byte)',' or (byte)'+' or (byte)'-' or (byte)'.' or (byte)'E':
            case (>= (byte)'0' and <= (byte)'9') or (>= (byte)'a' and <= (byte)'z'):
                return Outcome.NeedMore;
            default: return Fail(Stray(b));
        }
    }

    private Outcome Open(bool isArray)
    {
        IsTooDeep = _depth == MaxDepth;
        if (IsTooDeep) return Fail($"JSON parse error, nested more than {MaxDepth} deep");
        _isArray = (_isArray << 1) | (isArray ? 1u : 0u);
        _depth++;
        return Outcome.NeedMore;
    }

    private Outcome Close(bool isArray)
    {
        if ((_isArray & 1) != (isArray ? 1u : 0u)) return Fail(isArray ? "JSON parse error, ']' closes a '{'" : "JSON parse error, '}' closes a '['");
        _isArray >>= 1;
        return --_depth == 0 ? Outcome.Complete : Outcome.NeedMore;
    }

    private Outcome Fail(string error)
    {
        Error = error;
        return Outcome.Garbage;
    }

    private static string Stray(byte b) => b is > 0x20 and < 0x7f ? $"JSON parse error, stray '{(char)b}'" : $"JSON parse error, stray byte 0x{b:x2}";
}
