using System;
using XenDM.Core.Backends;

namespace XenDM.Backends.Char;

/// <summary>What all backends share: the label and the one front end. By itself it is the null backend: it swallows what is written.</summary>
public class CharBackend : ICharBackend
{
    public CharBackend(string label) => Label = label;

    public string Label { get; }

    public virtual string FileName => "null";

    public virtual bool IsOpen => true;

    public bool IsAttached => Frontend is not null;

    protected ICharFrontend? Frontend { get; private set; }

    /// <inheritdoc/>
    /// <exception cref="CharOpenException">It has a front end already: the command line names it twice.</exception>
    public void Attach(ICharFrontend frontend)
    {
        if (Frontend is not null) throw new CharOpenException($"chardev {Label}: two devices or monitors cannot use it at once");
        Frontend = frontend;
        if (IsOpen) frontend.Event(CharEvent.Opened);
        OnAttached();
    }

    public virtual int Write(ReadOnlySpan<byte> data) => data.Length;

    public virtual void AcceptInput()
    {
    }

    public virtual int TakeFd() => -1;

    public virtual void SetBreak(bool on)
    {
    }

    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected virtual void OnAttached()
    {
    }

    protected virtual void Dispose(bool disposing)
    {
    }
}
